"""kafka.dead_letter_topic: refused records reach a topic too, at least once, never in the way."""

import subprocess
import time

import psycopg
import pytest

from database import Database
from wait import wait_until

COLUMNS = "id int, name text"
# A topic that is missing is looked for more often than usual.
FAST = {"topic_metadata_refresh_interval_ms": 500, "topic_metadata_propagation_max_ms": 500}


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic, server_options=FAST)
    return topic


def good(*ids):
    return [{"id": i, "name": f"n{i}"} for i in ids]


def wait_sent(db, n, view="v"):
    """n letters of the view, none of them still to be produced."""
    def look():
        return db.row("SELECT count(*), count(to_topic) FROM kafka.dead_letters"
                      " WHERE view = %s::regclass", [view])
    wait_until(lambda: look() == (n, 0), 60,
               lambda: f"{n} letters sent: {look()}, {db.state(view)}")


def _is_cut(connection):
    try:
        connection.execute("SELECT 1")
        return False
    except psycopg.OperationalError:
        return True


def _connects(db):
    try:
        db.connection = db.connect()
        return True
    except psycopg.OperationalError:
        return False


def origins(kafka, topic):
    """[(topic, partition, offset)] of the letters in a topic, by their headers."""
    found = []
    for m in kafka.read_all(topic):
        h = dict(m.headers())
        found.append((h["__connect.errors.topic"].decode(),
                      int(h["__connect.errors.partition"]), int(h["__connect.errors.offset"])))
    return found


def test_a_letter_is_the_record_with_connects_headers(db, kafka, clicks, new_topic, produce):
    dead = new_topic()
    db.view("v", "SELECT id, name FROM clicks", dead_letter_topic=dead)
    db.execute("ALTER TABLE v ADD CONSTRAINT seven CHECK (id <> 7), ALTER id SET NOT NULL")
    at = int(time.time() * 1000) - 5000
    headers = [("a", b"text"), ("a", b"\xff\x00"), ("n", None), ("e", b"")]

    def record(value, key):
        return {"record": {"value": value, "key": key, "headers": headers, "timestamp": at}}

    produce(clicks, [record({"id": "x"}, "k")] + good(1) + [record({"id": 7, "name": "x"}, None)]
            + [record("", ""), record(None, "gone")] + good(2))
    db.wait_count("v", 2)
    wait_sent(db, 4)
    letters = list(kafka.read_all(dead))
    assert [m.value() for m in letters] == [b'{"id": "x"}', b'{"id": 7, "name": "x"}', b"", None]
    assert [m.key() for m in letters] == [b"k", None, b"", b"gone"]
    reasons = dict(db.rows("SELECT record_offset, message FROM kafka.dead_letters"))
    for m, offset, stage, code in zip(letters, (0, 2, 3, 4),
                                      ("VALUE_CONVERTER", "TASK_PUT", "VALUE_CONVERTER", "TASK_PUT"),
                                      ("22P02", "23514", "22P02", "23502")):
        assert m.timestamp()[1] == at
        assert m.headers()[:4] == headers
        said = {k.removeprefix("__connect.errors."): v for k, v in m.headers()[4:]}
        assert said.pop("exception.stacktrace", "missing") != "missing"
        assert said == {
            "topic": clicks.encode(), "partition": b"0", "offset": str(offset).encode(),
            "connector.name": b"public.v", "task.id": b"0", "stage": stage.encode(),
            "class.name": b"kafka_engine", "exception.class.name": code.encode(),
            "exception.message": reasons[offset].encode()}
    # What has been sent may be retried or thrown away; nothing of it is sent again.
    db.execute("ALTER TABLE v DROP CONSTRAINT seven")
    assert db.row("SELECT * FROM kafka.retry('v')") == (4, 1, 3)
    produce(clicks, ["{"])
    wait_sent(db, 4)
    assert [o for _, _, o in origins(kafka, dead)] == [0, 2, 3, 4, 6]


def test_many_letters_of_several_partitions(db, kafka, new_topic, produce):
    topic, dead = new_topic(partitions=3), new_topic(partitions=2)
    db.topic_table("clicks", COLUMNS, kafka, topic=topic, consumers=2)
    db.view("v", "SELECT id FROM clicks", dead_letter_topic=dead)
    places = produce(topic, ["{" if i % 2 else {"id": i} for i in range(4000)])
    db.wait_count("v", 2000)
    wait_sent(db, 2000)
    assert sorted(origins(kafka, dead)) == sorted((topic, *p) for p in places[1::2])


def test_a_topic_that_is_missing_or_a_view_that_stops(db, kafka, cluster, clicks, new_topic,
                                                      produce):
    dead = f"late-{clicks}"
    db.view("v", "SELECT id FROM clicks", dead_letter_topic=dead, max_errors_in_a_row=5)
    produce(clicks, ["{"] + good(1) + ["{"])
    db.wait_count("v", 1)
    wait_until(lambda: f"dead letters of view {db.value('SELECT current_schema')}.v do not reach"
               in cluster.log_text() and dead in cluster.log_text(), 60, "the log says so")
    assert db.state("v")[0] in ("running", "catching up")
    # Pausing, crashing, coming back: they wait in the table.
    db.execute("SELECT kafka.pause('v')")
    supervisor = db.value("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                          " AND backend_type LIKE 'kafka_engine supervisor%'")
    cluster.kill_process(supervisor)
    wait_until(lambda: db.connection.closed or _is_cut(db.connection), 30, "the server goes down")
    wait_until(lambda: _connects(db), 60, "the server is back")
    new_topic(name=dead)
    db.execute("SELECT kafka.resume('v')")
    wait_sent(db, 2)
    assert origins(kafka, dead) == [(clicks, 0, 0), (clicks, 0, 2)]
    # Those that stopped the view are sent all the same.
    produce(clicks, ["{"] * 20)
    db.wait_state("v", "stopped")
    wait_until(lambda: db.value("SELECT count(to_topic) FROM kafka.dead_letters") == 0, 60, "sent")
    letters = db.value("SELECT count(*) FROM kafka.dead_letters")
    assert 6 <= letters < 22 and len(origins(kafka, dead)) == letters


def test_a_copy_sends_nothing_by_itself(db, kafka, cluster, clicks, produce):
    missing = f"never-{clicks}"
    db.view("v", "SELECT id FROM clicks", dead_letter_topic=missing)
    produce(clicks, good(1) + ["{"])
    db.wait_count("v", 1)
    db.execute("SELECT kafka.pause('v')")
    dump = subprocess.run([cluster.installation.program("pg_dump")], check=True, text=True,
                          capture_output=True, env=cluster.client_environment(db.name)).stdout
    assert missing in dump
    kafka.create_topic(missing, 1, {})
    with Database(cluster, extension=False) as copy:
        subprocess.run([cluster.installation.program("psql"), "-q", "-v", "ON_ERROR_STOP=1"],
                       check=True, text=True, input=dump, capture_output=True,
                       env=cluster.client_environment(copy.name))
        copy.wait_state("v", "paused")
        produce(clicks, good(2) + ["{"])
        db.execute("SELECT kafka.resume('v')")
        wait_sent(db, 2)
        assert copy.column("SELECT to_topic FROM kafka.dead_letters") == [missing]
        assert len(origins(kafka, missing)) == 2
        copy.execute("SELECT kafka.resume('v')")
        wait_sent(copy, 2)


def test_options_that_do_not_go_together(db, kafka, topic, clicks, produce):
    why = "dead_letter_topic\" needs kafka.on_error = 'dead_letter'"
    e = db.error("CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.on_error = 'skip',"
                 " kafka.dead_letter_topic = 'x') AS SELECT id FROM clicks")
    assert e.sqlstate == "HV024" and why in str(e)
    for bad in ("a b", "..", "x" * 250, "ä"):
        e = db.error("CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.dead_letter_topic ="
                     f" '{bad}') AS SELECT id FROM clicks")
        assert "topic's name" in e.diag.message_hint
    # A view that reads its own dead-letter topic does not feed itself.
    db.view("v", "SELECT id FROM clicks", dead_letter_topic=topic)
    assert why in str(db.error("ALTER MATERIALIZED VIEW v SET (kafka.on_error = 'stop')"))
    produce(topic, ["{"] + good(1))
    db.wait_count("v", 1)
    assert db.column("SELECT to_topic FROM kafka.dead_letters") == [None]
    db.execute("ALTER MATERIALIZED VIEW v RESET (kafka.dead_letter_topic)")
    db.execute("ALTER MATERIALIZED VIEW v SET (kafka.on_error = 'skip')")
    assert len(list(kafka.read_all(topic))) == 2


def test_a_letter_that_is_too_large_waits_and_holds_nobody_up(db, kafka, clicks, new_topic,
                                                              produce):
    small, dead = new_topic(max_message_bytes=20000), new_topic()
    db.view("v", "SELECT id FROM clicks", dead_letter_topic=small)
    db.view("w", "SELECT id FROM clicks", dead_letter_topic=dead)
    produce(clicks, ["{" + "x" * 50000] + good(1) + ["{"])
    wait_sent(db, 2, "w")
    wait_until(lambda: db.rows("SELECT record_offset FROM kafka.dead_letters WHERE"
                               " view = 'v'::regclass AND to_topic IS NOT NULL") == [(0,)],
               60, "only the large one is left")
    assert [o for _, _, o in origins(kafka, small)] == [2]
