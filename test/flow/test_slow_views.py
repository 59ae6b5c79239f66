"""A view whose code takes long, or waits, beside others of the same worker: it is cut off, the others go on."""

import threading

import pytest

from database import Database
from wait import wait_until


def numbered(first, last):
    return [{"id": i} for i in range(first, last)]


@pytest.fixture
def hasty(new_cluster):
    """A server that cuts views off soon."""
    cluster = new_cluster(**{"kafka.view_timeout": "300ms", "kafka.workers": "1"})
    with Database(cluster) as db:
        db.execute("CREATE FUNCTION linger(i bigint, seconds float8) RETURNS bigint LANGUAGE plpgsql AS"
                   " $$ BEGIN PERFORM pg_catalog.pg_sleep(seconds); RETURN i; END $$")
        yield db


def _reason(db, view):
    return db.row(f"SELECT state, reason FROM kafka.views WHERE view = '{view}'::regclass")


def test_a_view_that_waits_does_not_hold_up_others(hasty, kafka, topic, produce):
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.view("waits", "SELECT linger(id, 3600) AS id FROM clicks")
    db.view("quick", "SELECT id FROM clicks")
    for first in (0, 100, 200):
        produce(topic, numbered(first, first + 100))
        db.wait_count("quick", first + 100, timeout=20)
    wait_until(lambda: _reason(db, "waits")[0] == "retrying", 20, "it says that it was cut off")
    assert "ms while other views waited" in _reason(db, "waits")[1]
    assert db.value("SELECT count(*) FROM waits") == 0
    # No record was lost by it: with another function it goes on from where it stood.
    db.execute("CREATE OR REPLACE FUNCTION linger(i bigint, seconds float8) RETURNS bigint"
               " LANGUAGE sql AS 'SELECT i'")
    db.wait_count("waits", 300)
    assert db.value("SELECT count(DISTINCT id) FROM waits") == 300
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 0


def test_a_slow_view_goes_on_with_fewer_records(hasty, kafka, topic, produce):
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    produce(topic, numbered(0, 300))
    db.view("slow", "SELECT linger(id, 0.01) AS id FROM clicks", paused=True)
    db.view("quick", "SELECT id FROM clicks", paused=True)
    db.execute("SELECT kafka.resume('slow'), kafka.resume('quick')")
    db.wait_count("quick", 300, timeout=20)
    db.wait_count("slow", 300)
    assert db.value("SELECT count(DISTINCT id) FROM slow") == 300
    assert db.value("SELECT count(DISTINCT xmin::text) FROM slow") > 10  # some 3 s of work in parts of 0.3


def test_a_long_beginning_is_waited_for(hasty, kafka, topic, produce):
    """What a batch costs before its first record is no reason never to store one."""
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.execute("CREATE TABLE side AS SELECT i::bigint AS id FROM generate_series(0, 40) i")
    produce(topic, numbered(0, 2000))
    db.view("slow", "SELECT id FROM clicks JOIN (SELECT linger(id, 0.01) AS id FROM side OFFSET 0) s USING (id)",
            paused=True)
    db.view("quick", "SELECT id FROM clicks")
    db.execute("SELECT kafka.resume('slow')")
    db.wait_count("quick", 2000, timeout=20)
    db.wait_count("slow", 41)


def test_without_a_limit_it_is_a_view_like_others(hasty, kafka, topic, produce):
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.view("slow", "SELECT linger(id, 0.02) AS id FROM clicks", paused=True)
    db.view("quick", "SELECT id FROM clicks")
    produce(topic, numbered(0, 100))
    db.execute("SELECT kafka.resume('slow')")
    wait_until(lambda: _reason(db, "slow")[0] == "retrying", 20, "it was cut off")
    db.cluster.configure(**{"kafka.view_timeout": "0"})
    db.cluster.reload()
    db.wait_count("slow", 100)
    produce(topic, numbered(100, 200))
    db.wait_count("slow", 200)
    assert db.value("SELECT count(DISTINCT xmin::text) FROM slow WHERE id >= 100") < 10


def test_several_that_wait(hasty, kafka, topic, produce):
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    for i in range(5):
        db.view(f"waits{i}", "SELECT linger(id, 3600) AS id FROM clicks")
    db.view("quick", "SELECT id FROM clicks")
    for first in range(0, 500, 100):
        produce(topic, numbered(first, first + 100))
        db.wait_count("quick", first + 100, timeout=20)


def test_code_that_catches_the_cut(hasty, kafka, topic, produce):
    """It ends well, and late: that counts too, and is no record's fault."""
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    for name, then in ("catches", "RETURN i"), ("complains", "RAISE 'took too long'"):
        db.execute(f"CREATE FUNCTION {name}(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN"
                   f" PERFORM pg_catalog.pg_sleep(3600); EXCEPTION WHEN query_canceled THEN {then}; END $$")
        db.view(name, f"SELECT public.{name}(id) AS id FROM clicks", paused=True)
    db.view("quick", "SELECT id FROM clicks")
    produce(topic, numbered(0, 3))
    db.execute("SELECT kafka.resume('catches'), kafka.resume('complains')")
    db.wait_count("catches", 3)
    for first in range(3, 15, 3):
        produce(topic, numbered(first, first + 3))
        db.wait_count("quick", first + 3, timeout=20)
    assert db.value("SELECT count(*) FROM complains") == 0
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 0


STAYS = ("CREATE OR REPLACE FUNCTION stays(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN LOOP BEGIN"
         " PERFORM pg_catalog.pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$")


@pytest.mark.parametrize("query", ["SELECT public.stays(id) AS id FROM clicks",
                                   "SELECT id FROM clicks WHERE public.stays(1) = 1"])
def test_code_that_catches_every_cut(hasty, kafka, topic, produce, query):
    """It would hold its worker for ever, in a batch or while it is planned: it is stopped."""
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.execute("CREATE FUNCTION stays(i bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'")
    db.view("stays", query, paused=True)
    db.view("quick", "SELECT id FROM clicks")
    db.execute(STAYS.replace("LANGUAGE", "IMMUTABLE LANGUAGE"))
    produce(topic, numbered(0, 10))
    db.execute("SELECT kafka.resume('stays')")
    wait_until(lambda: _reason(db, "stays")[0] == "stopped", 20, "it is stopped")
    assert "catches query_canceled" in _reason(db, "stays")[1]
    produce(topic, numbered(10, 20))
    db.wait_count("quick", 20, timeout=20)
    db.execute("CREATE OR REPLACE FUNCTION stays(i bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT 1::bigint'")
    db.execute("SELECT kafka.resume('stays')")
    db.wait_count("stays", 20)
    assert db.value("SELECT count(*) FROM quick") == 20


def test_code_that_catches_every_cut_and_is_alone(hasty, kafka, topic, produce):
    """Nobody waits for it but who pauses it: its worker has to be ended."""
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.execute(STAYS)
    db.view("stays", "SELECT public.stays(id) AS id FROM clicks")
    produce(topic, numbered(0, 10))
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_until(lambda: db.value(asleep) > 0, 20, "it waits")
    with db.connect() as other:
        pausing = threading.Thread(target=other.execute, args=["SELECT kafka.pause('stays')"])
        pausing.start()
        wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, 20, "the pause waits")
        db.execute("SELECT pg_terminate_backend(pid) FROM kafka.workers")
        pausing.join(20)
        assert not pausing.is_alive()
    assert _reason(db, "stays")[0] == "paused"


def stays_beside_quick(db, kafka, topic):
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.execute(STAYS)
    db.view("stays", "SELECT public.stays(id) AS id FROM clicks")
    db.view("quick", "SELECT id FROM clicks")


def test_resumed_again_and_again(hasty, kafka, topic, produce):
    """It may hold its worker again, after the others have had their time."""
    db = hasty
    stays_beside_quick(db, kafka, topic)
    produce(topic, numbered(0, 10))
    over = threading.Event()

    def resume():
        with db.connect() as other:
            while not over.wait(0.05):
                other.execute("SELECT kafka.resume('stays')")

    thread = threading.Thread(target=resume)
    thread.start()
    try:
        for first in range(10, 60, 10):
            produce(topic, numbered(first, first + 10))
            db.wait_count("quick", first + 10, timeout=25)
    finally:
        over.set()
        thread.join()


def test_stopped_beside_an_open_resume(hasty, kafka, topic, produce):
    db = hasty
    stays_beside_quick(db, kafka, topic)
    with db.connect() as other:
        other.autocommit = False
        other.execute("SELECT kafka.resume('stays')")
        produce(topic, numbered(0, 10))
        db.wait_count("quick", 10, timeout=25)
        wait_until(lambda: _reason(db, "stays")[0] == "stopped", 25, "it is stopped")
        other.rollback()


def test_code_that_makes_something_of_each_error(hasty, kafka, topic, produce):
    """Slow, and it takes the cut for a record's error: with one record at a time it gets through."""
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.execute("CREATE FUNCTION tries(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM"
               " pg_catalog.pg_sleep(0.02); RETURN i; EXCEPTION WHEN query_canceled OR others THEN RETURN NULL; END $$")
    db.view("tries", "SELECT public.tries(id) AS id FROM clicks", paused=True)
    db.view("quick", "SELECT id FROM clicks")
    produce(topic, numbered(0, 300))
    db.execute("SELECT kafka.resume('tries')")
    db.wait_count("quick", 300, timeout=25)
    db.wait_count("tries", 300, timeout=60)
    assert _reason(db, "tries")[0] == "running"


def test_errors_that_look_like_cancels_are_shown(hasty, kafka, topic, produce):
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.execute("CREATE FUNCTION cancels(i bigint) RETURNS bigint LANGUAGE plpgsql AS"
               " $$ BEGIN RAISE 'not now' USING ERRCODE = '57014'; END $$")
    db.view("cancels", "SELECT public.cancels(id) AS id FROM clicks")
    db.view("quick", "SELECT id FROM clicks")
    produce(topic, numbered(0, 10))
    db.wait_count("quick", 10)
    wait_until(lambda: _reason(db, "cancels") == ("retrying", "not now"), 20, "it says why")


def test_a_view_without_company_takes_its_time(hasty, kafka, topic, produce):
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.view("slow", "SELECT linger(id, 1) AS id FROM clicks")
    produce(topic, numbered(0, 3))
    db.wait_count("slow", 3, timeout=30)


def test_a_view_that_comes_beside_it_does_not_wait(hasty, kafka, topic, produce):
    """It has its worker to itself, and then no more."""
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.view("waits", "SELECT linger(id, 3600) AS id FROM clicks")
    produce(topic, numbered(0, 10))
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query_start < now() - '1 s'::interval"
    wait_until(lambda: db.value(asleep) > 0, 20, "it waits, beyond the limit")
    db.view("quick", "SELECT id FROM clicks")
    db.wait_count("quick", 10, timeout=20)
    wait_until(lambda: _reason(db, "waits")[0] == "retrying", 20, "it says that it was cut off")


def test_bad_records_of_a_slow_view(hasty, kafka, topic, produce):
    """The careful replay is cut off too, and finds the record in the end."""
    db = hasty
    db.topic_table("clicks", "id bigint", kafka, topic=topic)
    db.view("slow", "SELECT 1 / (id - 7) AS one, linger(id, 0.01) AS id FROM clicks", paused=True)
    db.view("quick", "SELECT id FROM clicks")
    produce(topic, numbered(0, 100))
    db.execute("SELECT kafka.resume('slow')")
    db.wait_count("quick", 100, timeout=20)
    db.wait_count("slow", 99)
    assert db.rows("SELECT record_offset, sqlstate FROM kafka.dead_letters") == [(7, "22012")]
