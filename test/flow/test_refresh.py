"""REFRESH of continuous views, on a real Kafka: rows made anew, with the worker going on."""

import pytest

from producing import Producing
from wait import wait_until

COLUMNS = "id int, k int, v text, _offset bigint, _tombstone boolean"

# name: query, options, what the view holds after all records, how its rows are spoiled.
KINDS = {
    "rows": ("SELECT id, v FROM facts", {}, "SELECT id, v FROM facts"),
    "groups": ("SELECT k, count(*) AS n, max(v) AS v FROM facts GROUP BY k", {},
               "SELECT k, count(*), max(v) FROM facts GROUP BY k"),
    "states": ("SELECT k, avg(id) AS mean, corr(id, k) AS c FROM facts GROUP BY k HAVING count(*) > 2",
               {}, "SELECT k, avg(id), corr(id, k) FROM facts GROUP BY k HAVING count(*) > 2"),
    "one": ("SELECT count(*) AS n, sum(id) AS total FROM facts", {},
            "SELECT count(*), sum(id) FROM facts"),
    "newest": ("SELECT k, v FROM facts WHERE k IS NOT NULL",
               {"key": "k", "on_conflict": "update"},
               "SELECT DISTINCT ON (k) k, v FROM facts WHERE k IS NOT NULL ORDER BY k, _offset DESC"),
}


def some(first, last):
    return [{"id": i, "k": i % 7 or None, "v": f"v{i}"} for i in range(first, last)]


@pytest.fixture
def facts(db, kafka, topic, produce):
    db.topic_table("facts", COLUMNS, kafka, topic=topic)
    produce(topic, some(0, 3000))
    return topic


def same(db, view, query):
    stored = sorted(db.rows(f"SELECT * FROM {view}"), key=repr)
    wanted = sorted(db.rows(query), key=repr)
    assert [tuple(map(rounded, r)) for r in stored] == [tuple(map(rounded, r)) for r in wanted]


def rounded(value):
    return round(value, 9) if isinstance(value, float) else value


def spoil(db, view):
    """Rows that should not be there, rows that are gone, rows that are wrong."""
    target = db.value("SELECT target::text FROM kafka.registry WHERE view = %s::regclass", [view])
    first = db.column("SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass"
                      " AND attnum > 0 ORDER BY attnum", [target])
    db.execute(f"DELETE FROM {target} WHERE ctid IN (SELECT ctid FROM {target} LIMIT 3)")
    if view == "one":
        db.execute(f"INSERT INTO {target} VALUES (-1, -1)")
        return
    db.execute(f"UPDATE {target} SET {first[-1]} = NULL WHERE ctid IN (SELECT ctid FROM {target} LIMIT 2)")
    db.execute(f"INSERT INTO {target} ({first[0]}) VALUES (-5), (-6)")


@pytest.mark.parametrize("kind", KINDS)
def test_made_anew_while_the_worker_goes_on(db, facts, produce, kind):
    query, options, wanted = KINDS[kind]
    db.view(kind, query, **options)
    db.wait(kind)
    same(db, kind, wanted)
    for concurrently in ["", "CONCURRENTLY"]:
        if kind == "rows" and concurrently:
            # As in the server's own views.
            e = db.error("REFRESH MATERIALIZED VIEW CONCURRENTLY rows")
            assert e.sqlstate == "55000" and "unique index" in e.diag.message_hint
            db.execute("ALTER MATERIALIZED VIEW rows ALTER COLUMN id SET NOT NULL")
            db.execute("CREATE UNIQUE INDEX ON rows (id)")
        spoil(db, kind)
        looker = db.connect(autocommit=False)
        looker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        spoiled = looker.execute(f"SELECT count(*) FROM {kind}").fetchone()
        with Producing(produce, facts, some, int(db.value("SELECT max(id) + 1 FROM facts")), 50):
            if not concurrently:  # whose swap waits for those who read in a transaction
                looker.rollback()
            db.execute(f"REFRESH MATERIALIZED VIEW {concurrently} {kind}")
            if concurrently:
                assert looker.execute(f"SELECT count(*) FROM {kind}").fetchone() == spoiled
        looker.rollback()
        db.wait(kind)
        same(db, kind, wanted)
        assert db.state(kind)[0] in ("running", "catching up")
    assert db.rows("SELECT relname FROM pg_class WHERE relname LIKE 'r\\_%'") == []
    assert db.value("SELECT count(*) FROM kafka.history WHERE reason = 'refreshed'") == 2


def test_what_a_query_looks_up_is_looked_up_again(db, facts, produce):
    db.execute("CREATE TABLE names (k int PRIMARY KEY, name text)")
    db.execute("INSERT INTO names SELECT n, 'old' FROM generate_series(1, 6) n")
    db.view("v", "SELECT f.id, n.name FROM facts f JOIN names n USING (k)")
    db.wait("v")
    before = db.value("SELECT pg_relation_filenode('v')")
    db.execute("UPDATE names SET name = 'new'")
    with db.connect(autocommit=False) as c:
        c.execute("REFRESH MATERIALIZED VIEW v")
        assert c.execute("SELECT DISTINCT name FROM v").fetchall() == [("new",)]
        c.rollback()
    assert db.rows("SELECT DISTINCT name FROM v") == [("old",)]
    assert db.value("SELECT pg_relation_filenode('v')") == before
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.rows("SELECT DISTINCT name FROM v") == [("new",)]
    produce(facts, some(3000, 3010))
    db.wait("v")
    assert db.value("SELECT count(*) FROM v") == db.value("SELECT count(*) FROM facts WHERE k > 0")


def test_paused_views_stay_paused_and_go_on_behind(db, facts, produce):
    db.view("v", "SELECT id FROM facts", paused=True)
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.value("SELECT count(*) FROM v") == 3000
    assert db.state("v")[0] == "paused"
    produce(facts, some(3000, 3005))
    db.execute("SELECT kafka.resume('v')")
    db.wait("v")
    assert db.value("SELECT array_agg(id ORDER BY id) = ARRAY(SELECT generate_series(0, 3004)) FROM v")


def test_what_the_topic_no_longer_holds(db, kafka, facts):
    db.view("late", "SELECT id FROM facts", start="0:1000")
    db.view("v", "SELECT k, count(*) AS n FROM facts GROUP BY k")
    db.wait("late")
    db.wait("v")
    kafka.delete_records(facts, 0, 1000)
    db.execute("REFRESH MATERIALIZED VIEW late")  # which had none of these
    assert db.row("SELECT count(*), min(id) FROM late") == (2000, 1000)
    for how in ("", "CONCURRENTLY"):
        e = db.error(f"REFRESH MATERIALIZED VIEW {how} v")
        assert "1000 records" in e.diag.message_detail and "kafka.refresh_gap" in e.diag.message_hint
    assert db.value("SELECT sum(n) FROM v") == 3000
    heard = []
    with db.connect() as c:
        c.add_notice_handler(lambda n: heard.append(n.message_primary))
        c.execute("SET kafka.refresh_gap = accept")
        c.execute("REFRESH MATERIALIZED VIEW v")
        assert len(heard) == 1 and heard[0].startswith("1000 records are no longer")
        # From now on it begins there.
        c.execute("RESET kafka.refresh_gap")
        c.execute("REFRESH MATERIALIZED VIEW v")
        assert len(heard) == 1
    assert db.value("SELECT sum(n) FROM v") == 2000
    same(db, "v", "SELECT k, count(*) FROM facts GROUP BY k")


def test_refused_records_are_judged_again(db, facts, produce):
    produce(facts, [{"id": "x"}, {"id": 1, "v": "not null"}, {"id": 5000, "v": None}])
    db.view("v", "SELECT id, v FROM facts WHERE id IS NULL OR id >= 2990")
    db.execute("ALTER MATERIALIZED VIEW v ALTER COLUMN v SET NOT NULL, ADD CHECK (id <> 2999)")
    db.execute("SELECT kafka.seek('v', 'earliest')")
    db.wait("v")
    bad = "SELECT record_offset, sqlstate, convert_from(value, 'UTF8') FROM kafka.dead_letters ORDER BY 1"
    db.execute("REFRESH MATERIALIZED VIEW v")
    found = db.rows(bad)
    assert [r[:2] for r in found] == [(2999, "23514"), (3000, "22P02"), (3002, "23502")]
    assert '"v": null' in found[2][2].replace(":null", ": null")
    db.execute("ALTER MATERIALIZED VIEW v ALTER COLUMN v DROP NOT NULL")
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert [r[0] for r in db.rows(bad)] == [2999, 3000]
    assert db.value("SELECT array_agg(id ORDER BY id) FROM v") == [*range(2990, 2999), 5000]
    db.execute("ALTER MATERIALIZED VIEW v SET (kafka.on_error = 'stop')")
    e = db.error("REFRESH MATERIALIZED VIEW v")
    assert "offset 2999" in e.diag.message_detail
    assert db.value("SELECT count(*) FROM v") == 10 and len(db.rows(bad)) == 2


def test_a_dead_letter_is_sent_once(db, kafka, facts, new_topic, produce):
    letters = new_topic()
    produce(facts, [{"id": "x"}])
    db.view("v", "SELECT id FROM facts", dead_letter_topic=letters)
    db.wait("v")
    sent = "SELECT count(*) FROM kafka.dead_letters WHERE to_topic IS NULL"
    wait_until(lambda: db.value(sent) == 1, 30, "the letter is sent")
    before = db.value("SELECT id FROM kafka.dead_letters")
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.value("SELECT id FROM kafka.dead_letters") > before and db.value(sent) == 1
    assert len(list(kafka.read_all(letters))) == 1


def test_letters_say_where_the_record_was_refused(db, facts, produce):
    produce(facts, [{"id": "x"}])
    db.view("v", "SELECT id FROM facts", dead_letter_topic=f"{facts}-missing")
    db.wait("v")
    stages = "SELECT id, stage FROM kafka.dead_letter_log"
    (before, stage), = db.rows(stages)
    db.execute("REFRESH MATERIALIZED VIEW v")
    (after, anew), = db.rows(stages)
    assert after > before and stage == anew == "VALUE_CONVERTER"


def test_what_hangs_on_the_rows_stays(db, facts, produce):
    """Where others know the rows, or have columns in them, they are exchanged one by one."""
    db.view("v", "SELECT k, count(*) AS n FROM facts WHERE k IS NOT NULL GROUP BY k")
    db.wait("v")
    db.execute("ALTER MATERIALIZED VIEW v ADD COLUMN note text, ADD COLUMN number int GENERATED ALWAYS"
               " AS IDENTITY")
    db.execute("UPDATE v SET note = 'mine' WHERE k = 3")
    db.execute("CREATE TABLE hanging (k int REFERENCES v (k) ON DELETE CASCADE)")
    db.execute("INSERT INTO hanging VALUES (1), (3)")
    db.execute("ALTER MATERIALIZED VIEW v REPLICA IDENTITY FULL")
    db.execute("CREATE PUBLICATION p FOR TABLE v")
    db.execute("CREATE TABLE log (what text)")
    db.execute("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
               " INSERT INTO public.log VALUES (TG_OP || ' by ' || current_user); RETURN NULL; END $$")
    db.execute("CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON v FOR EACH ROW"
               " EXECUTE FUNCTION note()")
    numbers = db.rows("SELECT k, number FROM v ORDER BY k")
    me = db.value("SELECT current_user")
    db.execute("UPDATE v SET n = 0 WHERE k = 5")
    db.execute("DELETE FROM log")
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.rows("SELECT k, number FROM v ORDER BY k") == numbers
    assert db.rows("SELECT k FROM v WHERE note = 'mine'") == [(3,)]
    assert db.column("SELECT what FROM log") == [f"UPDATE by {me}"]
    assert db.value("SELECT count(*) FROM hanging") == 2
    same(db, "(SELECT k, n FROM v) v", "SELECT k, count(*) FROM facts WHERE k IS NOT NULL GROUP BY k")
    # A plain view whose rows nobody can tell apart is refused then.
    db.view("w", "SELECT id FROM facts")
    db.execute("ALTER MATERIALIZED VIEW w ADD COLUMN note text")
    e = db.error("REFRESH MATERIALIZED VIEW w")
    assert e.sqlstate == "55000" and "columns that its query does not give" in e.diag.message_detail


def test_what_cannot_be_refreshed(db, facts):
    db.execute("CREATE TABLE mine (id int)")
    db.view("v", "SELECT id FROM facts", into="mine")
    assert "kafka.seek" in db.error("REFRESH MATERIALIZED VIEW v").diag.message_hint
    db.view("w", "SELECT id FROM facts")
    assert db.error("REFRESH MATERIALIZED VIEW w WITH NO DATA").sqlstate == "0A000"
    with db.role() as role:
        db.execute(f"GRANT SELECT ON w TO {role}")
        db.execute(f"SET ROLE {role}")
        assert db.error("REFRESH MATERIALIZED VIEW w").sqlstate == "42501"
