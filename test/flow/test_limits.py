"""Sizes at which nothing may break: partitions, topics, views, records of no and of many bytes, and what a worker's
memory does. KAFKA_ENGINE_FULL=1 makes some as large as README says; they are smaller in each check."""

import concurrent.futures
import os
import re
import uuid

MEGABYTE = 1 << 20


def test_five_hundred_partitions(db, kafka, new_topic, produce):
    topic = new_topic(partitions=500)
    db.topic_table("clicks", "id int, _partition int", kafka, topic=topic)
    db.view("v", "SELECT id, _partition FROM clicks")
    produce(topic, [{"record": {"value": {"id": i}, "partition": i % 500}} for i in range(1500)])
    db.wait_count("v", 1500)
    assert db.row("SELECT count(DISTINCT _partition), count(DISTINCT id) FROM v") == (500, 1500)
    assert db.row("SELECT count(*), min(next_offset), max(next_offset)"
                  " FROM kafka.positions") == (500, 3, 3)
    db.wait("v")


def _memory(pid, which):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"{which}:\s+(\d+) kB", f.read()).group(1)) * 1024


def test_records_of_a_megabyte_do_not_pile_up(db, kafka, new_topic, produce):
    """500 MB wait for a worker that starts idle; it holds a bounded part of them at any time."""
    topic, idle = new_topic(max_message_bytes=2 * MEGABYTE), new_topic()
    db.topic_table("quiet", "id int", kafka, topic=idle)
    db.view("q", "SELECT id FROM quiet")
    produce(idle, [{"id": 1}])
    db.wait_count("q", 1)
    (pid,) = db.column("SELECT pid FROM kafka.workers")
    before = _memory(pid, "VmRSS")
    db.topic_table("clicks", "id int, text text", kafka, topic=topic)
    for first in range(0, 500, 50):
        produce(topic, [{"id": i, "text": "x" * MEGABYTE} for i in range(first, first + 50)],
                message_max_bytes=2 * MEGABYTE)
    db.view("v", "SELECT id, length(text) AS length FROM clicks")
    db.wait_count("v", 500)
    assert db.column("SELECT DISTINCT length FROM v") == [MEGABYTE]
    used = {p: _memory(p, "VmHWM") for p in db.column("SELECT pid FROM kafka.workers")}
    assert used and max(used.values()) - before < 300 * MEGABYTE, (before, used)


def test_a_record_beyond_the_limit_waits_until_it_is_raised(db, kafka, topic, produce):
    """The property to raise is named to the view's owner and to who selects; the rest is librdkafka's word."""
    db.topic_table("clicks", "id int, text text", kafka, topic=topic,
                   server_options={"fetch_max_bytes": 10000, "message_max_bytes": 10000,
                                   "receive_message_max_bytes": 20000})
    db.view("v", "SELECT id, text FROM clicks")
    produce(topic, [{"id": 1}], linger_ms=0)
    db.wait_count("v", 1)
    produce(topic, [{"id": 2, "text": "x" * 100000}, {"id": 3, "text": ""}], linger_ms=0)
    _, reason, error = db.wait_state("v", "retrying")
    assert "is larger than what may be received: " in reason, reason
    assert "increase receive.message.max.bytes" in reason
    assert "[54000]" in error and '"receive_message_max_bytes" of the server' in error, error
    refused = db.error("SELECT count(*) FROM clicks WHERE text <> ''")
    assert refused.sqlstate == "54000" and "receive_message_max_bytes" in refused.diag.message_hint
    assert db.value("SELECT count(*) FROM v") == 1
    server = db.value("SELECT srvname FROM pg_foreign_server")
    db.execute(f"ALTER SERVER {server} OPTIONS (DROP fetch_max_bytes, DROP message_max_bytes,"
               " DROP receive_message_max_bytes)")
    db.wait_count("v", 3)
    db.wait_state("v", "running")


FULL = os.environ.get("KAFKA_ENGINE_FULL")
TOPICS, VIEWS, BYTES = (1000, 200, 100_000_000) if FULL else (100, 40, 20_000_000)


def test_many_topics_by_a_pattern(db, kafka, produce):
    """One more joins by itself."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: kafka.create_topic(f"{name}-{n}"), range(TOPICS)))
    db.topic_table("clicks", "id int, _topic text", kafka, topic_pattern=f"{name}-[0-9]+")
    db.view("v", "SELECT id, _topic AS topic FROM clicks")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: produce(f"{name}-{n}", [{"id": n}]), range(0, TOPICS, 10)))
    db.wait_count("v", TOPICS // 10)
    assert db.value("SELECT bool_and(topic = %s || id) FROM v", [f"{name}-"])
    kafka.create_topic(f"{name}-{TOPICS}")
    produce(f"{name}-{TOPICS}", [{"id": TOPICS}])
    db.wait_count("v", TOPICS // 10 + 1)
    (pid,) = db.column("SELECT pid FROM kafka.workers")
    assert _memory(pid, "VmHWM") < 150 * MEGABYTE


def test_many_views_on_a_topic(db, kafka, topic, produce):
    db.topic_table("clicks", "id int", kafka, topic=topic)
    for n in range(VIEWS):
        db.view(f"v{n}", f"SELECT id FROM clicks WHERE id % {VIEWS} = {n}")
    produce(topic, [{"id": n} for n in range(100 * VIEWS)])
    for n in range(VIEWS):
        db.wait_count(f"v{n}", 100)
    assert db.value("SELECT count(*) FROM kafka.views WHERE state <> 'running'") == 0
    assert max(_memory(p, "VmHWM") for p in db.column("SELECT pid FROM kafka.workers")) < 150 * MEGABYTE


def test_records_without_a_byte(db, kafka, new_topic, produce):
    """A row where the format knows what that is, a bad record else; null is a tombstone and another thing."""
    topic = new_topic()
    produce(topic, [b"", None, {"record": {"value": b"{}", "key": b""}}])
    db.topic_table("j", "id int, _tombstone boolean, _key bytea", kafka, topic=topic)
    db.topic_table("r", "payload bytea, _tombstone boolean", kafka, topic=topic, format="raw")
    db.topic_table("x", "payload text", kafka, topic=topic, format="text")
    for name in "jrx":
        db.view(f"v{name}", f"SELECT * FROM {name}")
        assert db.value(f"SELECT kafka.wait('v{name}', '1 minute')")
    assert db.rows("SELECT id, _tombstone, _key FROM vj ORDER BY _tombstone") == [(None, False, b""), (None, True, None)]
    assert db.rows("SELECT record_offset, value FROM kafka.dead_letters") == [(0, b"")]
    assert db.rows("SELECT payload, _tombstone FROM vr ORDER BY payload") == [(b"", False), (b"{}", False), (None, True)]
    assert db.column("SELECT payload FROM vx ORDER BY payload") == ["", "{}", None]


def test_a_very_large_record(db, kafka, new_topic, produce):
    """Stored, where the server's option takes it; as bytes and out of a document."""
    topic = new_topic(max_message_bytes=BYTES + 1000)
    limit = {"receive_message_max_bytes": BYTES + 2_000_000, "fetch_message_max_bytes": BYTES,
             "fetch_max_bytes": BYTES + 1_000_000, "message_max_bytes": BYTES + 1000}
    db.topic_table("clicks", "id int, text text", kafka, topic=topic, server_options=limit)
    db.view("v", "SELECT id, length(text) AS length FROM clicks")
    produce(topic, [{"id": 1, "text": "x" * (BYTES - 100)}, {"id": 2, "text": ""}], message_max_bytes=BYTES + 1000)
    db.wait_count("v", 2)
    assert db.rows("SELECT * FROM v ORDER BY id") == [(1, BYTES - 100), (2, 0)]


def test_records_that_are_large_once_decompressed(db, kafka, topic, produce):
    db.topic_table("clicks", "id int, text text", kafka, topic=topic,
                   server_options={"fetch_max_bytes": 100000, "message_max_bytes": 100000,
                                   "receive_message_max_bytes": 101000})
    db.view("v", "SELECT id FROM clicks")
    produce(topic, [{"id": 1, "text": "x" * 900000}], compression_type="zstd")
    _, reason, error = db.wait_state("v", "retrying")
    assert "Decompression" in reason and '"receive_message_max_bytes" takes once' in error, error
    server = db.value("SELECT srvname FROM pg_foreign_server")
    db.execute(f"ALTER SERVER {server} OPTIONS (SET receive_message_max_bytes '10000000')")
    db.wait_count("v", 1)
