"""Figures on a real Kafka: make bench, or run.py [load] [latency] [scans].

    load      rows/s of one worker for a million records, beside COPY of the same rows from CSV
    latency   from produce to the visible row at 20 records/s
    scans     threads, descriptors and memory of a session before and after 1,000 scans

Everything runs on this machine, broker included, so that figures of one run compare and those of two
machines do not. BENCH_RECORDS (1,000,000) and BENCH_REPEAT (3) change the load.
"""

import json
import os
import statistics
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from broker import Kafka  # noqa: E402
from cluster import Cluster  # noqa: E402
from database import Database  # noqa: E402

RECORDS = int(os.environ.get("BENCH_RECORDS", "1000000"))
REPEAT = int(os.environ.get("BENCH_REPEAT", "3"))
PARTITIONS = 4
COLUMNS = "id bigint, name text, at timestamptz, amount numeric, note text"


def fresh(prefix):
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def fill(broker, topic):
    """Records of some 110 bytes."""
    producer = broker.producer(linger_ms=20, batch_num_messages=20000,
                               queue_buffering_max_messages=500000)
    for n in range(RECORDS):
        value = (f'{{"id":{n},"name":"customer {n % 1000}","at":"2026-03-{n % 28 + 1:02}T10:{n % 60:02}'
                 f':{n * 7 % 60:02}Z","amount":{n % 10000}.{n % 100:02},"note":"{n:020}"}}')
        while True:
            try:
                producer.produce(topic, value, partition=n % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(120) == 0


def timed(act):
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


def load(cluster, broker):
    topic = broker.create_topic(fresh("load"), PARTITIONS)
    fill(broker, topic)
    path = os.path.join(cluster.data, "rows.csv")
    ours, copies = [], []
    with Database(cluster) as db:
        db.topic_table("records", COLUMNS, broker, topic)
        for turn in range(REPEAT):
            def view():
                db.view("v", "SELECT id, name, at, amount, note FROM records")
                db.wait("v", 600)

            ours.append(timed(view))
            assert db.value("SELECT count(*) FROM v") == RECORDS
            if turn == 0:
                db.execute(f"COPY v TO '{path}' (FORMAT csv)")
            db.execute(f"CREATE TABLE c ({COLUMNS})")
            copies.append(timed(lambda: db.execute(f"COPY c FROM '{path}' (FORMAT csv)")))
            db.execute("DROP TABLE c")
            db.execute("DROP MATERIALIZED VIEW v")
            db.execute("CHECKPOINT")
    our, copy = statistics.median(ours), statistics.median(copies)
    print(f"load: {RECORDS:,} records, {PARTITIONS} partitions, one worker; medians of {REPEAT}")
    print(f"  view      {our:6.2f} s {RECORDS / our:>12,.0f} rows/s   (CREATE to the last row)")
    print(f"  COPY csv  {copy:6.2f} s {RECORDS / copy:>12,.0f} rows/s   ({copy / our:.2f} of ours)")


def latency(cluster, broker, records=600, rate=20):
    topic = broker.create_topic(fresh("latency"), 1)
    producer = broker.producer(linger_ms=0)
    found = []
    with Database(cluster) as db:
        db.topic_table("records", "n int", broker, topic)
        db.view("v", "SELECT n FROM records")
        db.execute("CREATE INDEX ON v (n)")
        next_at = time.monotonic()
        for n in range(records + 20):
            # What came late is not made up for: records in a burst would wait for flush_interval.
            next_at = max(next_at + 1 / rate, time.monotonic())
            time.sleep(max(0.0, next_at - time.monotonic()))
            begin = time.monotonic()
            producer.produce(topic, json.dumps({"n": n}))
            producer.poll(0)
            while not db.rows("SELECT 1 FROM v WHERE n = %s", [n]):
                if time.monotonic() - begin > 30:
                    raise SystemExit(f"record {n} does not come: {db.state('v')}")
                producer.poll(0)
            if n >= 20:  # the first ones warm the caches
                found.append((time.monotonic() - begin) * 1000)
    found.sort()
    print(f"latency: produce to visible row, {rate} records/s, {records} records")
    print("  " + ", ".join(f"{name} {found[min(int(len(found) * q), len(found) - 1)]:.1f} ms"
                           for name, q in (("p50", .5), ("p90", .9), ("p99", .99), ("max", 1))))


def usage(pid):
    """(threads, descriptors, resident MB) of a process."""
    with open(f"/proc/{pid}/status") as f:
        resident = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd")), resident / 1024


def scans(cluster, broker, times=1000):
    topic = broker.create_topic(fresh("scans"), 2)
    producer = broker.producer()
    for n in range(1000):
        producer.produce(topic, json.dumps({"n": n}), partition=n % 2)
    producer.flush(30)
    with Database(cluster) as db:
        db.topic_table("records", "n int, _offset bigint", broker, topic)
        pid = db.connection.info.backend_pid
        rows = [("before", usage(pid))]
        begin = time.monotonic()
        for n in range(times):
            assert db.value("SELECT count(*) FROM records") == 1000
            if n == 0:
                rows.append(("after 1", usage(pid)))
        spent = (time.monotonic() - begin) / times * 1000
        rows.append((f"after {times:,}", usage(pid)))
    print(f"scans: 1,000 records each, {spent:.1f} ms a scan")
    for name, (threads, descriptors, resident) in rows:
        print(f"  {name:<12}{threads:>4} threads{descriptors:>5} descriptors{resident:>7.0f} MB")


def main():
    wanted = sys.argv[1:] or ["load", "latency", "scans"]
    with Kafka(heap="768m") as broker, Cluster(
            settings={"fsync": "on", "shared_buffers": "128MB", "autovacuum": "off"}) as cluster:
        print(f"PostgreSQL {cluster.connect().info.server_version}, {os.cpu_count()} CPUs")
        for name in wanted:
            {"load": load, "latency": latency, "scans": scans}[name](cluster, broker)


if __name__ == "__main__":
    main()
