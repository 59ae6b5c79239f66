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


HOLD = ("CREATE FUNCTION hold(id int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        " IF id = 7 AND current_setting('test.hold', true) = 'yes' THEN"
        " PERFORM pg_advisory_xact_lock_shared(7); END IF; RETURN id; END $$")


def held_refresh(db, view):
    """REFRESH in a session of its own, under way and held up by advisory lock 7: (lock's session, run)."""
    import threading
    lock, refresh = db.connect(), db.connect()
    lock.execute("SELECT pg_advisory_lock(7)")
    refresh.execute("SET test.hold = 'yes'")
    ended = []

    def run():
        try:
            refresh.execute(f"REFRESH MATERIALIZED VIEW {view}")
            ended.append(None)
        except Exception as e:  # noqa: BLE001  (the test looks at it)
            ended.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
               30, "REFRESH is held up")

    def finish():
        lock.execute("SELECT pg_advisory_unlock_all()")
        thread.join()
        return ended[0]

    return refresh, finish


def test_partitions_that_come_meanwhile(db, kafka, facts, produce):
    db.execute(HOLD)
    db.view("v", "SELECT hold(id) AS id FROM facts")
    db.wait("v")
    _, finish = held_refresh(db, "v")
    kafka.add_partitions(facts, 2)
    produce(facts, some(3000, 3050), partition=1)
    # Whoever serves the view looks for partitions when it begins.
    for pid in db.column("SELECT pid FROM kafka.workers"):
        db.execute("SELECT pg_terminate_backend(%s)", [pid])
    db.wait_count("v", 3050)
    assert finish() is None
    assert db.value("SELECT count(*) = 3050 AND count(DISTINCT id) = 3050 FROM v")
    produce(facts, some(3050, 3060), partition=1)
    db.wait("v")
    assert db.value("SELECT array_agg(id ORDER BY id) = ARRAY(SELECT generate_series(0, 3059)) FROM v")


def test_topics_that_the_table_had_once(db, facts, new_topic, produce):
    other = new_topic()
    produce(other, some(5000, 5010))
    db.view("v", "SELECT id FROM facts")
    db.wait("v")
    db.execute(f"ALTER FOREIGN TABLE facts OPTIONS (SET topic '{other}')")
    db.wait_count("v", 3010)
    assert "3000 records" in db.error("REFRESH MATERIALIZED VIEW v").diag.message_detail
    db.execute("SET kafka.refresh_gap = accept")
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.column("SELECT id FROM v ORDER BY 1") == [*range(5000, 5010)]
    db.execute("RESET kafka.refresh_gap")
    db.execute("REFRESH MATERIALIZED VIEW v")
    db.execute(f"ALTER FOREIGN TABLE facts OPTIONS (SET topic '{facts},{other}')")
    produce(facts, some(3000, 3005))
    db.wait_count("v", 15)
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.value("SELECT count(*) FROM v") == 15


def test_cancelled_or_dropped_in_the_middle(db, cluster, facts, produce):
    db.execute(HOLD)
    db.view("v", "SELECT k, count(*) AS n, avg(hold(id)) AS a FROM facts GROUP BY k")
    db.wait("v")
    before = db.rows("SELECT * FROM v ORDER BY k")
    for stop, words in (("cancel", "canceling statement"), ("terminate", "terminating connection")):
        session, finish = held_refresh(db, "v")
        db.execute(f"SELECT pg_{stop}_backend(%s)", [session.info.backend_pid])
        assert words in str(finish())
        assert db.rows("SELECT * FROM v ORDER BY k") == before
    assert db.rows("SELECT relname FROM pg_class WHERE relname LIKE 'r\\_%'") == []
    # Who drops it, or refreshes it too, waits.
    _, finish = held_refresh(db, "v")
    waiting = db.connect()
    waiting.execute("SET lock_timeout = '100ms'")
    for statement in ("DROP MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW v",
                      "ALTER MATERIALIZED VIEW v RENAME TO w", "DROP FOREIGN TABLE facts CASCADE"):
        assert db.error(statement, connection=waiting).sqlstate == "55P03"
    db.execute("SELECT kafka.pause('v')")
    db.execute("SELECT kafka.resume('v')")
    assert finish() is None
    assert db.rows("SELECT * FROM v ORDER BY k") == before
    produce(facts, some(3000, 3010))
    db.wait("v")
    same(db, "v", "SELECT k, count(*), avg(id) FROM facts GROUP BY k")


def test_a_long_topic_costs_few_transaction_numbers(db, facts, produce):
    query = "SELECT k, count(*) AS n, sum(1000 / (id + 1)) AS s FROM facts GROUP BY k"
    wanted = "SELECT nullif(id % 7, 0) AS k, count(*), sum(1000 / (id + 1)) FROM good GROUP BY 1"
    db.view("v", query, batch_rows=1024)
    produce(facts, some(3000, 60000))
    db.wait("v")
    xid = "SELECT txid_current()"
    before = db.value(xid)
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.value(xid) - before < 20
    # What has to be undone and read again for one bad record is neither lost nor doubled, nor are others.
    produce(facts, [{"id": "x"}] + some(60000, 65000) + [{"id": -1, "k": 1}] + some(65000, 65100))
    db.wait("v")
    refused = "SELECT record_offset, sqlstate FROM kafka.dead_letters ORDER BY 1"
    bad = [(60000, "22P02"), (65001, "22012")]
    assert db.rows(refused) == bad
    db.execute("UPDATE v SET n = 0")
    db.execute("REFRESH MATERIALIZED VIEW v")
    assert db.rows(refused) == bad
    db.execute("CREATE TABLE good AS SELECT * FROM generate_series(0, 65099) id")
    same(db, "v", wanted)


def test_foreign_keys_judge_as_they_do_in_batches(db, facts, produce):
    db.execute("CREATE TABLE people (a text, b int, PRIMARY KEY (a, b)) PARTITION BY LIST (b);"
               " CREATE TABLE people_0 PARTITION OF people DEFAULT;"
               " INSERT INTO people SELECT 'v' || n, n % 7 FROM generate_series(0, 9) n")
    db.view("v", "SELECT id, v::varchar(9) AS a, k::int8 AS b FROM facts WHERE id < 20", paused=True)
    db.execute("ALTER MATERIALIZED VIEW v ADD PRIMARY KEY (id), ADD FOREIGN KEY (a, b) REFERENCES people (a, b)")
    produce(facts, [{"id": -1, "k": 3}, {"id": -2, "v": "nobody", "k": 0}])
    db.execute("SELECT kafka.resume('v')")
    db.wait("v")
    bad = db.rows("SELECT record_offset, sqlstate, message, detail FROM kafka.dead_letters ORDER BY 1")
    assert [b[:2] for b in bad] == [(n, "23503") for n in [*range(10, 14), *range(15, 20), 3001]]
    rows = db.rows("SELECT * FROM v ORDER BY id")
    assert len(rows) == 12
    with db.role() as owner:  # who need not see the table that is referred to
        db.execute(f"GRANT ALL ON SCHEMA public TO {owner}; GRANT SELECT ON facts TO {owner}; GRANT USAGE"
                   f" ON FOREIGN SERVER broker TO {owner}; ALTER MATERIALIZED VIEW v OWNER TO {owner}")
        for how in ("", "CONCURRENTLY"):
            db.execute("UPDATE v SET b = NULL WHERE id = 3; DELETE FROM v WHERE id = 5")
            db.execute(f"REFRESH MATERIALIZED VIEW {how} v")
            assert db.rows("SELECT * FROM v ORDER BY id") == rows
            assert db.rows("SELECT record_offset, sqlstate, message, detail FROM kafka.dead_letters"
                           " ORDER BY 1") == bad
        db.execute(f"SET ROLE {owner}; CREATE TABLE probe (a text, b int)")
        assert db.error("CREATE TRIGGER t AFTER INSERT ON probe REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT"
                        " EXECUTE FUNCTION kafka.check_references(1)").sqlstate == "42501"
        db.execute("RESET ROLE; ALTER MATERIALIZED VIEW v OWNER TO CURRENT_USER")


def test_states_of_another_server_are_made_anew(db, facts, produce):
    """Bytes that only the server that wrote them can read are never read by another."""
    query = "SELECT k, stddev(id + (0 * random())::int8) AS s FROM facts GROUP BY k"
    db.view("v", query)
    db.wait("v")
    states = db.value("SELECT target::text FROM kafka.registry")
    # Format, kind, then the server's version.
    assert db.value(f"SELECT left(partial::text, 6) FROM {states} LIMIT 1") == "\\x0169"
    db.execute(f"UPDATE {states} SET partial = ('\\x01690e00' || substr(partial::text, 11))::kafka.state")
    e = db.error("SELECT * FROM v")
    assert "version 14" in e.diag.message_detail and "REFRESH" in e.diag.message_hint
    produce(facts, some(3000, 3010))
    _, reason, error = db.wait_state("v", "stopped")
    assert "not one of" in f"{reason} {error}" and "REFRESH" in f"{reason} {error}"
    db.execute("REFRESH MATERIALIZED VIEW v")
    db.execute("SELECT kafka.resume('v')")
    produce(facts, some(3010, 3020))
    db.wait("v")
    same(db, "v", "SELECT k, stddev(id::int8) FROM facts GROUP BY k")


def test_constraints_judge_as_they_do_in_batches(db, facts, produce):
    db.view("v", "SELECT id, int4range(id, id + 1) AS r FROM facts WHERE id < 10")
    db.wait("v")
    db.execute("ALTER MATERIALIZED VIEW v ADD EXCLUDE USING gist (r WITH &&)")
    produce(facts, some(3, 5))
    db.wait("v")
    for _ in range(2):
        assert db.rows("SELECT record_offset, sqlstate FROM kafka.dead_letters ORDER BY 1") == [
            (3000, "23P01"), (3001, "23P01")]
        assert db.column("SELECT id FROM v ORDER BY 1") == [*range(10)]
        db.execute("REFRESH MATERIALIZED VIEW v")


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
