"""Sizes at which nothing may break: partitions, large records, and what a worker's memory does."""

import re

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
