"""Dead letters: what is kept of a bad record, who sees it, limits, retry and discard, dump."""

import datetime
import threading
import time

import psycopg
import pytest

from wait import wait_until
from database import Database

COLUMNS = "id int, name text, _offset bigint"


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    return topic


def good(*ids):
    return [{"id": i, "name": f"n{i}"} for i in ids]


def letters(db, columns="record_offset, sqlstate", view="v"):
    return db.rows(f"SELECT {columns} FROM kafka.dead_letters WHERE view = %s::regclass"
                   " ORDER BY topic, partition, record_offset", [view])


def wait_letters(db, n, view="v"):
    wait_until(lambda: len(letters(db, view=view)) == n, 60,
               lambda: f"{n} dead letters of {view}; there are {letters(db, view=view)}")


@pytest.mark.parametrize("how", ["decode", "server"])
def test_a_record_is_kept_as_it_came(db, clicks, produce, how):
    db.view("v", "SELECT id, name FROM clicks")
    bad = {"id": "x"} if how == "decode" else {"id": 7, "name": "x"}
    if how == "server":
        db.execute("ALTER TABLE v ADD CONSTRAINT seven CHECK (id <> 7)")
    at = int(time.time() * 1000)
    headers = [("a", b"text"), ("a", b"\xff\x00"), ("n", None)]
    produce(clicks, good(0) + [{"record": {"value": bad, "key": "k", "headers": headers,
                                           "timestamp": at}}] + good(2))
    db.wait_count("v", 2)
    wait_letters(db, 1)
    row = db.connection.cursor(row_factory=psycopg.rows.dict_row).execute(
        "SELECT * FROM kafka.dead_letters").fetchone()
    assert (row["topic"], row["partition"], row["record_offset"]) == (clicks, 0, 1)
    assert row["key"] == b"k" and b'"id"' in row["value"]
    assert row["record_time"] == datetime.datetime.fromtimestamp(at / 1000, datetime.timezone.utc)
    assert row["headers"] == [{"name": "a", "value": "text"},
                              {"name": "a", "value": "/wA=", "base64": True},
                              {"name": "n", "value": None}]
    assert row["attempts"] == 1 and row["failed_at"] is not None
    if how == "decode":
        assert row["sqlstate"] == "22P02" and row["column_name"] == "id"
        assert "integer" in row["message"]
    else:
        assert row["sqlstate"] == "23514" and "seven" in row["message"]
        assert "(7, x)" in row["detail"]
    assert db.value("SELECT rejects FROM kafka.views WHERE view = 'v'::regclass") == 1
    assert db.column("SELECT next_offset FROM kafka.positions") == [3]


def test_tombstones_and_empty_payloads_differ(db, clicks, produce):
    db.view("v", "SELECT name FROM clicks")
    db.execute("ALTER TABLE v ALTER name SET NOT NULL")
    produce(clicks, [None, "", {"id": 1, "name": "a"}])
    db.wait_count("v", 1)
    assert letters(db, "value, sqlstate") == [(None, "23502"), (b"", "22P02")]
    assert letters(db, "column_name")[0] == ("name",)


def test_only_the_owner_sees_them(db, clicks, produce):
    with db.role() as owner, db.role() as other, db.role() as member:
        db.execute(f"GRANT {owner} TO {member}")
        db.execute(f"GRANT SELECT ON clicks TO {owner}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER {db.value('SELECT srvname FROM pg_foreign_server')}"
                   f" TO {owner}")
        db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}, {member}, {other}")
        db.execute(f"SET ROLE {owner}")
        db.view("v", "SELECT id FROM clicks")
        db.execute("RESET ROLE")
        produce(clicks, ["{"] + good(1))
        wait_letters(db, 1)
        seen = {}
        for role in (owner, other, member):
            db.execute(f"SET ROLE {role}")
            seen[role] = len(letters(db))
            # Not by a function in the condition either, however cheap it says it is.
            db.execute("CREATE FUNCTION peek_%s(bytea) RETURNS bool COST 0.0000001 LANGUAGE plpgsql AS"
                       " $$ BEGIN RAISE NOTICE 'seen %%', $1; RETURN true; END $$" % role)
            notices = []
            db.connection.add_notice_handler(lambda d, n=notices: n.append(d.message_primary))
            db.execute(f"SELECT count(*) FROM kafka.dead_letters WHERE peek_{role}(value)")
            assert bool(notices) == (role != other)
            if role == other:
                assert db.error("SELECT kafka.retry('v')").sqlstate == "42501"
                assert db.error("SELECT kafka.discard('v')").sqlstate == "42501"
                assert db.error("TABLE kafka.dead_letter_log").sqlstate == "42501"
            db.execute("RESET ROLE")
        assert seen == {owner: 1, other: 0, member: 1}
        db.execute(f"SET ROLE {owner}")
        assert db.value("SELECT kafka.discard('v')") == 1
        db.execute("RESET ROLE")


def test_too_many_in_a_row_stop_the_view(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", max_errors_in_a_row=10, batch_rows=4)
    produce(clicks, ["{"] * 9 + good(9) + ["{"] * 10 + good(20) + ["{"] * 30)
    _, reason, error = db.wait_state("v", "stopped")
    assert "10 records in a row" in reason and "max_errors_in_a_row" in reason
    assert "offset 31" in error
    assert db.column("SELECT id FROM v ORDER BY 1") == [9, 20]
    assert len(letters(db)) == 29
    assert db.column("SELECT next_offset FROM kafka.positions") == [31]


def test_too_many_that_the_server_refuses_stop_the_view(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", max_errors_in_a_row=10)
    db.execute("ALTER TABLE v ADD CHECK (id < 100)")
    produce(clicks, good(*range(90, 130)))
    _, reason, _ = db.wait_state("v", "stopped")
    assert "10 records in a row" in reason
    assert [r[0] for r in letters(db)] == list(range(10, 20))
    assert db.column("SELECT next_offset FROM kafka.positions") == [20]
    db.execute("ALTER TABLE v DROP CONSTRAINT v_id_check")
    assert db.row("SELECT * FROM kafka.retry('v')") == (10, 10, 0)
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 40)


def test_the_table_has_a_limit(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", max_dead_letters=5, batch_rows=3)
    produce(clicks, [x for i in range(10) for x in good(i) + ["{"]])
    _, reason, _ = db.wait_state("v", "stopped")
    assert "max_dead_letters" in reason and "kafka.discard" in reason
    assert len(letters(db)) == 5
    assert db.column("SELECT next_offset FROM kafka.positions") == [11]
    assert db.value("SELECT kafka.discard('v', 'record_offset < 4')") == 2
    db.execute("SELECT kafka.resume('v')")
    wait_until(lambda: db.column("SELECT next_offset FROM kafka.positions") == [15], 30,
               "it goes on, as far as there is room")
    db.wait_state("v", "stopped")
    assert len(letters(db)) == 5


def test_skip_counts_by_reason(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", on_error="skip")
    db.execute("ALTER TABLE v ADD CHECK (id <> 3)")
    produce(clicks, ["{", {"id": "x"}, {"id": "y"}] + good(3, 4))
    db.wait_count("v", 1)
    found = db.rows("SELECT sqlstate, column_name, records, last_offset FROM kafka.skipped"
                    " WHERE view = 'v'::regclass ORDER BY last_offset")
    assert found == [("22P02", None, 1, 0), ("22P02", "id", 2, 2), ("23514", None, 1, 3)]
    assert letters(db) == []


def test_retry(db, clicks, produce):
    db.view("v", "SELECT id, name FROM clicks")
    db.execute("ALTER TABLE v ADD CONSTRAINT low CHECK (id < 5)")
    produce(clicks, good(*range(10)) + [{"id": "x"}, [{"id": 1}, {"id": 77}]])
    wait_letters(db, 7)
    # Nothing has changed.
    assert db.row("SELECT * FROM kafka.retry('v')") == (7, 0, 7)
    assert letters(db, "attempts") == [(2,)] * 7
    # A part of them, by a condition; rolled back.
    db.execute("ALTER TABLE v DROP CONSTRAINT low, ADD CONSTRAINT high CHECK (id <> 77)")
    db.execute("BEGIN")
    assert db.row("SELECT * FROM kafka.retry('v', 'record_offset IN (5, 6)')") == (2, 2, 0)
    assert db.value("SELECT count(*) FROM v") == 7
    db.execute("ROLLBACK")
    assert db.value("SELECT count(*) FROM v") == 5 and len(letters(db)) == 7
    # The rest keeps its place, with its new reason; all rows of a message stand or fall together.
    assert db.row("SELECT * FROM kafka.retry('v')") == (7, 5, 2)
    assert db.column("SELECT id FROM v ORDER BY 1") == list(range(10))
    left = letters(db, "record_offset, sqlstate, attempts, message")
    assert [r[:3] for r in left] == [(10, "22P02", 3), (11, "23514", 3)]
    assert "high" in left[1][3]
    # The topic table reads it otherwise now.
    db.execute("ALTER FOREIGN TABLE clicks ADD COLUMN more text")
    db.execute("ALTER TABLE v DROP CONSTRAINT high")
    assert db.row("SELECT * FROM kafka.retry('v', $$sqlstate = '23514'$$)") == (1, 1, 0)
    assert db.value("SELECT count(*) FROM v") == 12
    assert db.value("SELECT kafka.discard('v')") == 1
    # The view goes on.
    produce(clicks, good(50))
    db.wait_count("v", 13)


def test_retry_gives_the_query_the_record_as_it_was(db, kafka, topic, produce):
    db.topic_table("clicks", "id int, _key text, _partition int, _offset bigint, _headers jsonb,"
                   " _timestamp timestamptz, _timestamp_type text, _topic text, _raw bytea,"
                   " _tombstone bool", kafka, topic=topic)
    db.view("v", "SELECT * FROM clicks")
    db.view("w", "SELECT * FROM clicks")
    db.execute("ALTER TABLE v ADD CONSTRAINT no CHECK (_offset < 0)")
    headers = [("a", b"x"), ("b", b"\xfe"), ("c", None)]
    at = int(time.time() * 1000)  # an old one would have expired
    records = [({"id": 1}, "k"), (None, "dead"), ({"id": 3}, None)]
    produce(topic, [{"record": {"value": v, "key": k, "headers": headers, "timestamp": at}}
                    for v, k in records])
    db.wait_count("w", 3)
    wait_letters(db, 3)
    db.execute("ALTER TABLE v DROP CONSTRAINT no")
    assert db.row("SELECT * FROM kafka.retry('v')") == (3, 3, 0)
    assert db.rows("SELECT * FROM v ORDER BY _offset") == db.rows("SELECT * FROM w ORDER BY _offset")


def test_retry_works_on_pages(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", max_errors_in_a_row=100000)
    db.execute("ALTER TABLE v ADD CONSTRAINT no CHECK (id % 2 = 0)")
    n = 25000
    produce(clicks, good(*range(n)))
    db.wait_count("v", n // 2, timeout=120)
    wait_letters(db, n // 2)
    db.execute("ALTER TABLE v DROP CONSTRAINT no")
    assert db.row("SELECT * FROM kafka.retry('v')") == (n // 2, n // 2, 0)
    assert db.value("SELECT count(DISTINCT id) FROM v") == n


@pytest.mark.parametrize("condition", ["true) OR (true", "1; DROP TABLE v", "*", "true FROM v",
                                       "true AS x", "true --", "/*", "SELECT 1", "", "id) --"])
def test_a_condition_is_one_expression(db, clicks, condition):
    db.view("v", "SELECT id FROM clicks", paused=True)
    if condition == "true --":
        assert db.value("SELECT kafka.discard('v', %s)", [condition]) == 0
        return
    for function in ("retry", "discard"):
        assert db.error(f"SELECT kafka.{function}('v', %s)", [condition]).sqlstate == "42601"


def test_a_condition_runs_as_the_owner(db, clicks, produce):
    """A superuser who retries does not lend its rights to the expression, nor to the query."""
    with db.role() as owner:
        db.execute(f"GRANT SELECT ON clicks TO {owner}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER {db.value('SELECT srvname FROM pg_foreign_server')}"
                   f" TO {owner}")
        db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}")
        db.execute(f"SET ROLE {owner}")
        db.execute("CREATE FUNCTION who() RETURNS text LANGUAGE sql AS 'SELECT current_user::text'")
        db.view("v", "SELECT id, public.who() AS who FROM clicks")
        db.execute("RESET ROLE")
        db.execute("ALTER TABLE v ADD CONSTRAINT no CHECK (id <> 1)")
        produce(clicks, good(0, 1))
        wait_letters(db, 1)
        db.execute("ALTER TABLE v DROP CONSTRAINT no")
        assert db.value(f"SELECT kafka.discard('v', $$public.who() <> '{owner}'$$)") == 0
        assert db.error("SELECT kafka.retry('v', $$set_config('role', 'none', false) <> ''$$)"
                        ).sqlstate == "42501"
        assert db.row("SELECT * FROM kafka.retry('v')") == (1, 1, 0)
        assert db.column("SELECT DISTINCT who FROM v") == [owner]


def test_what_is_no_records_fault_fails_the_retry(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    db.execute("ALTER TABLE v ADD CONSTRAINT no CHECK (id <> 1)")
    produce(clicks, good(0, 1))
    wait_letters(db, 1)
    db.execute("ALTER TABLE v DROP CONSTRAINT no")
    db.execute("CREATE FUNCTION sulk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
               " RAISE SQLSTATE '53100' USING MESSAGE = 'disk full'; END $$")
    db.execute("CREATE TRIGGER t BEFORE INSERT ON v FOR EACH ROW EXECUTE FUNCTION sulk()")
    assert db.error("SELECT kafka.retry('v')").sqlstate == "53100"
    assert letters(db, "attempts") == [(1,)]


def test_two_retries_at_once(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    db.execute("ALTER TABLE v ADD CONSTRAINT no CHECK (id % 2 = 0)")
    produce(clicks, good(*range(100)))
    wait_letters(db, 50)
    db.execute("ALTER TABLE v DROP CONSTRAINT no")
    other = db.connect(autocommit=False)
    assert other.execute("SELECT retried FROM kafka.retry('v')").fetchone() == (50,)
    third = db.connect()
    pid = third.info.backend_pid
    got = []
    t = threading.Thread(
        target=lambda: got.append(third.execute("SELECT * FROM kafka.retry('v')").fetchone()))
    t.start()
    wait_until(lambda: db.value("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s",
                                [pid]), 30, "the second one waits")
    other.commit()
    t.join(30)
    assert got == [(0, 0, 0)]
    assert db.value("SELECT count(*) FROM v") == 100


def test_a_dropped_view_takes_them_along(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    db.view("w", "SELECT id FROM clicks", on_error="skip")
    produce(clicks, ["{"])
    wait_letters(db, 1)
    wait_until(lambda: db.value("SELECT count(*) FROM kafka.skipped") == 1, 30, "one is skipped")
    db.execute("DROP MATERIALIZED VIEW v, w")
    assert db.value("SELECT count(*) FROM kafka.dead_letter_log") == 0
    assert db.value("SELECT count(*) FROM kafka.skip_log") == 0


def test_they_survive_a_dump(db, cluster, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, ["{", {"id": "x"}] + good(1))
    wait_letters(db, 2)
    dump = cluster._run("pg_dump", cluster.conninfo(db.name))
    with Database(cluster, extension=False) as copy:
        cluster._run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", cluster.conninfo(copy.name),
                     input=dump)
        everything = "SELECT * FROM kafka.dead_letters ORDER BY id"
        assert copy.rows(everything.replace("*", "id, view::text, value, message")) == \
            db.rows(everything.replace("*", "id, view::text, value, message"))
        assert copy.value("SELECT kafka.discard('v')") == 2
