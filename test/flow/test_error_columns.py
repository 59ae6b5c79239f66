"""_error and _raw: bad records as rows, in a SELECT and in views that route them."""

import pytest

BAD = ["{", {"id": "x", "name": "b"}, "", {"id": 5, "e": "nobody"}]
PAYLOADS = [{"id": 0, "name": "a"}] + BAD + [None, {"id": 6, "name": "c"}]


@pytest.fixture
def clicks(db, kafka, topic, produce):
    db.execute("CREATE DOMAIN email AS text CHECK (value LIKE '%@%')")
    db.topic_table("clicks", "id int, name text, e email, _offset bigint, _key text, _error text, _raw bytea",
                   kafka, topic=topic)
    produce(topic, [{"record": {"value": p, "key": "k"}} for p in PAYLOADS])
    return topic


def test_select(db, clicks):
    rows = db.rows("SELECT _offset, id, name, e, _key, _error, _raw FROM clicks ORDER BY _offset")
    assert [r[0] for r in rows] == list(range(7))
    for r in rows:
        if r[0] in (1, 2, 3, 4):
            assert r[1:4] == (None, None, None) and r[4] == "k"
            assert r[5] and r[6] is not None
        else:
            assert r[5] is None
    assert 'column "id"' in rows[2][5] and rows[1][6] == b"{" and rows[3][6] == b""
    assert 'column "e"' in rows[4][5] and "email" in rows[4][5]
    assert rows[5][1:4] == (None, None, None) and rows[5][6] is None
    # Only the columns that are used are judged, unless _error is one of them.
    assert db.value("SELECT count(*) FROM clicks") == 7
    assert db.value("SELECT count(*) FROM clicks WHERE _error IS NOT NULL") == 4
    assert db.column("SELECT name FROM clicks WHERE _offset = 4") == [None]


def test_views_route_them(db, clicks, produce):
    db.view("bad", "SELECT _offset, _error AS why, _raw AS bytes FROM clicks WHERE _error IS NOT NULL")
    db.view("good", "SELECT id, name FROM clicks WHERE _error IS NULL AND id IS NOT NULL")
    db.wait_count("bad", 4)
    db.wait_count("good", 2)
    assert db.column("SELECT _offset FROM bad ORDER BY 1") == [1, 2, 3, 4]
    produce(clicks, [{"id": 7}, "["])
    db.wait_count("bad", 5)
    db.wait_count("good", 3)
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 0
    assert db.column("SELECT state FROM kafka.views") == ["running", "running"]


def test_what_the_target_refuses_is_still_a_dead_letter(db, clicks):
    db.view("v", "SELECT id, _error IS NOT NULL AS bad FROM clicks", paused=True)
    db.execute("ALTER TABLE v ADD CHECK (id <> 6)")
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 6)
    db.wait("v")
    assert db.rows("SELECT record_offset, sqlstate, value FROM kafka.dead_letters") == [
        (6, "23514", b'{"id": 6, "name": "c"}')]
    db.execute("ALTER TABLE v DROP CONSTRAINT v_id_check")
    assert db.row("SELECT * FROM kafka.retry('v')") == (1, 1, 0)
    assert db.value("SELECT count(*) FROM v WHERE bad") == 4
