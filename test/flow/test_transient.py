"""Errors that pass are no record's fault: the batch is tried again with a back-off, the state says why,
nothing is refused, and all is stored once the cause is gone."""

import pytest

from wait import wait_until

PASSING = {
    "serialization failure": "40001", "deadlock": "40P01", "lock not available": "55P03",
    "object in use": "55006", "disk full": "53100", "out of memory": "53200",
    "too many connections": "53300", "limit exceeded": "53400", "admin shutdown": "57P01",
    "crash shutdown": "57P02", "cannot connect now": "57P03", "read-only": "25006",
    "I/O error": "58030", "connection lost": "08006", "foreign data": "HV00N",
    "data corrupted": "XX001", "index corrupted": "XX002",
}


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", "id int", kafka, topic=topic)
    return topic


def refused(db):
    return db.value("SELECT (SELECT count(*) FROM kafka.dead_letters)"
                    " + (SELECT sum(rejects) FROM kafka.views)")


@pytest.mark.parametrize("where", ["trigger", "query"])
def test_raised_while_a_batch_is_applied(db, clicks, produce, where):
    db.execute("CREATE TABLE moods (code text)")
    db.execute("CREATE FUNCTION mood() RETURNS int LANGUAGE plpgsql AS $$ DECLARE c text; BEGIN"
               " SELECT code INTO c FROM public.moods; IF c IS NOT NULL THEN"
               " RAISE SQLSTATE USING ERRCODE = c, MESSAGE = 'not now: ' || c; END IF; RETURN 1; END $$"
               .replace("RAISE SQLSTATE USING", "RAISE EXCEPTION USING"))
    db.view("v", "SELECT id FROM clicks" + (" WHERE public.mood() + id >= 0" if where == "query" else ""))
    if where == "trigger":
        db.execute("CREATE FUNCTION sulk() RETURNS trigger LANGUAGE plpgsql AS"
                   " $$ BEGIN PERFORM public.mood(); RETURN NEW; END $$")
        db.execute("CREATE TRIGGER t BEFORE INSERT ON v FOR EACH ROW EXECUTE FUNCTION sulk()")
    stored = 0
    for name, code in PASSING.items():
        db.execute("INSERT INTO moods VALUES (%s)", [code])
        produce(clicks, [{"id": stored}, {"id": stored + 1}])
        wait_until(lambda: db.state("v")[:2] == ("retrying", f"not now: {code}"), 60,
                   lambda: f"{name} is shown; {db.state('v')}")
        assert db.value("SELECT count(*) FROM v") == stored
        db.execute("DELETE FROM moods")
        stored += 2
        db.wait_count("v", stored)
        db.wait_state("v", "running")
    assert refused(db) == 0
    assert db.value("SELECT count(*) FROM kafka.history WHERE state = 'stopped'") == 0


def test_a_row_that_somebody_holds(db, clicks, produce):
    """A trigger wants a row of another table: the worker waits half a second for it, not for ever."""
    db.execute("CREATE TABLE counters (n int)")
    db.execute("INSERT INTO counters VALUES (0)")
    db.view("v", "SELECT id FROM clicks")
    db.execute("CREATE FUNCTION add() RETURNS trigger LANGUAGE plpgsql AS"
               " $$ BEGIN UPDATE public.counters SET n = n + 1; RETURN NEW; END $$")
    db.execute("CREATE TRIGGER t BEFORE INSERT ON v FOR EACH ROW EXECUTE FUNCTION add()")
    holder = db.connect(autocommit=False)
    holder.execute("UPDATE counters SET n = n")
    produce(clicks, [{"id": 0}, {"id": 1}])
    assert "lock timeout" in db.wait_state("v", "retrying")[1]
    holder.rollback()
    db.wait_count("v", 2)
    assert db.value("SELECT n FROM counters") == 2
    assert refused(db) == 0


def test_the_temporary_space_is_limited(db, clicks, produce):
    """A real 53400, raised by the executor in the middle of a batch."""
    db.view("v", "SELECT id FROM clicks")
    db.execute("CREATE FUNCTION sort() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
               " PERFORM count(*) FROM (SELECT repeat(i::text, 100) FROM generate_series(1, 20000) i"
               " ORDER BY 1 OFFSET 0) x; RETURN NULL; END $$")
    db.execute("CREATE TRIGGER t AFTER INSERT ON v FOR EACH STATEMENT EXECUTE FUNCTION sort()")
    db.execute("ALTER SYSTEM SET temp_file_limit = 0")
    db.execute("ALTER SYSTEM SET work_mem = '64kB'")
    db.execute("SELECT pg_reload_conf()")
    try:
        produce(clicks, [{"id": i} for i in range(5000)])
        assert "temp_file_limit" in db.wait_state("v", "retrying")[1]
    finally:
        db.execute("ALTER SYSTEM RESET temp_file_limit")
        db.execute("ALTER SYSTEM RESET work_mem")
        db.execute("SELECT pg_reload_conf()")
    db.wait_count("v", 5000)
    assert refused(db) == 0


def test_cancelled_again_and_again(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    db.execute("CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS"
               " $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$")
    db.execute("CREATE TRIGGER t BEFORE INSERT ON v FOR EACH ROW EXECUTE FUNCTION nap()")
    produce(clicks, [{"id": i} for i in range(20)])
    for _ in range(30):
        db.execute("SELECT pg_cancel_backend(pid) FROM kafka.workers")
    db.wait_count("v", 20)
    assert refused(db) == 0
