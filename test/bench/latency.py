"""From produce to the row that another session sees; and what a session holds after many scans."""

import json
import multiprocessing
import os
import time

from confluent_kafka import TopicPartition
from database import Database
from measure import fresh, private_mb

LOAD = 50000  # about what a producer in Python can do beside the rest


def quantiles(found):
    found = sorted(found)
    return [f"{found[min(int(len(found) * q), len(found) - 1)]:.1f}" for q in (.5, .9, .99, 1)]


def watch(seen, producer, topic, records, rate):
    """Milliseconds of each record until seen(n); one is under way at a time, and what came late is not made up for."""
    found = []
    next_at = time.monotonic()
    for n in range(records + 20):
        next_at = max(next_at + 1 / rate, time.monotonic())
        time.sleep(max(0.0, next_at - time.monotonic()))
        begin = time.monotonic()
        producer.produce(topic, json.dumps({"n": -1 - n}))
        producer.poll(0)
        while not seen(-1 - n):
            if time.monotonic() - begin > 30:
                raise SystemExit(f"record {n} does not come")
            producer.poll(0)
        if n >= 20:  # the first ones warm the caches
            found.append((time.monotonic() - begin) * 1000)
    return found


def flood(broker, topic, rate, stop):
    """Records of 110 bytes at a steady rate, until told to stop. A process of its own."""
    producer = broker.producer(linger_ms=5, batch_num_messages=10000)
    sent, began = 0, time.monotonic()
    while not stop.is_set():
        while sent < (time.monotonic() - began) * rate:
            try:
                producer.produce(topic, f'{{"n":{sent},"note":"{sent:090}"}}')
                sent += 1
            except BufferError:
                break
        producer.poll(0)
        time.sleep(0.002)
    producer.flush(30)


def consumer_sees(broker, topic):
    """A plain consumer instead of a view: what the broker and the machine take of the time."""
    consumer = broker.consumer()
    consumer.assign([TopicPartition(topic, 0, 0)])

    def seen(n):
        message = consumer.poll(0.05)
        return message is not None and not message.error() and json.loads(message.value())["n"] == n

    return seen


def view_sees(db, broker, topic):
    db.topic_table("records", "n int", broker, topic)
    db.view("v", "SELECT n FROM records")
    db.execute("CREATE INDEX ON v (n)")
    return lambda n: db.rows("SELECT 1 FROM v WHERE n = %s", [n])


def latency(bench, records=600):
    broker = bench.broker
    lines = []
    for title, load, plain in (("20 records/s", 0, False), ("20 records/s, to a plain consumer", 0, True),
                               (f"beside {LOAD:,} records/s", LOAD, False)):
        topic = broker.create_topic(fresh("latency"), 1)
        producer = broker.producer(linger_ms=0)
        stop = multiprocessing.Event()
        with Database(bench.cluster) as db:
            seen = consumer_sees(broker, topic) if plain else view_sees(db, broker, topic)
            other = multiprocessing.Process(target=flood, args=(broker, topic, load, stop))
            if load:
                other.start()
            lines.append([title] + quantiles(watch(seen, producer, topic, records // (3 if load else 1), 20)))
            stop.set()
            if load:
                other.join()
    bench.write("latency", "Milliseconds from produce to the visible row",
                ["load", "p50", "p90", "p99", "most"], lines)
    held(bench)


def held(bench, times=1000):
    """What a session holds before and after scans."""
    def usage(pid):
        return (len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd")), f"{private_mb(pid):.0f}")

    topic = bench.fill(1000, 2, lambda n: json.dumps({"n": n}))
    with Database(bench.cluster) as db:
        db.topic_table("records", "n int, _offset bigint", bench.broker, topic)
        pid = db.connection.info.backend_pid
        lines = [["before", *usage(pid)]]
        for n in range(times):
            assert db.value("SELECT count(*) FROM records") == 1000
            if n in (0, times - 1):
                lines.append([f"after {n + 1:,}", *usage(pid)])
    bench.write("held", "A session and its scans", ["", "threads", "descriptors", "private MB"], lines)
