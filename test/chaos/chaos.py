"""Kills at random moments while a producer writes; at the end, rows against the log.

    make chaos ROUNDS=20 SEED=7        the same seed kills the same things after the same pauses

Three views read one topic with several partitions: a plain one, one with a join, one that commits
synchronously. Each round waits a random while and then kills something: a worker by SIGKILL (the
postmaster then restarts every process), a worker by pg_terminate_backend, all of the server at once,
the broker by SIGKILL, by an ordinary stop, or freezes it. When all rounds are done the producer
ends, the views catch up, and each is compared with what an independent consumer reads in the topic:
every record once, none twice, in order within its partition. Exit code 0 only then.
"""

import argparse
import collections
import json
import os
import random
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import confluent_kafka  # noqa: E402
import psycopg  # noqa: E402

from broker import Kafka  # noqa: E402
from cluster import Cluster  # noqa: E402
from database import Database  # noqa: E402
from wait import TimedOut, wait_until  # noqa: E402

PARTITIONS = 6
KEYS = 500
VIEWS = ("plain", "joined", "durable")
CATCH_UP = 300  # seconds, after the last kill


class Producer(threading.Thread):
    """Keyed JSON with unique numbers, as fast as `rate`, through every loss of the broker.

    enable.idempotence keeps retries from doubling records in the log itself.
    """

    def __init__(self, broker, topic, rate, seed):
        super().__init__(daemon=True)
        self.topic, self.rate = topic, rate
        self.random = random.Random(seed)
        self.producer = broker.producer(enable_idempotence="true", message_timeout_ms=300000,
                                        linger_ms=5, reconnect_backoff_max_ms=500)
        self.made = 0
        self.acknowledged = 0
        self._ending = threading.Event()

    def _delivered(self, error, _):
        if error is None:
            self.acknowledged += 1

    def run(self):
        begin = time.monotonic()
        while not self._ending.wait(0.01):
            for _ in range(int((time.monotonic() - begin) * self.rate) - self.made):
                key = self.random.randrange(KEYS)
                value = json.dumps({"n": self.made, "key": key, "amount": f"{self.made}.25",
                                    "text": "x" * self.random.randrange(100)})
                try:
                    self.producer.produce(self.topic, value, key=str(key),
                                          on_delivery=self._delivered)
                except BufferError:
                    break  # the broker is away: go on when it has taken some
                self.made += 1
            self.producer.poll(0)

    def stop(self):
        self._ending.set()
        self.join()
        return self.producer.flush(120)


class Chaos:
    def __init__(self, cluster, broker, seed):
        self.cluster, self.broker = cluster, broker
        self.random = random.Random(seed)
        self.killed = collections.Counter()
        self.kinds = {
            "worker, kill -9": (self.kill_worker, 5),
            "worker, terminated": (self.terminate_worker, 4),
            "server, kill -9": (self.kill_server, 4),
            "server, immediate stop": (self.stop_server, 1),
            "broker, stopped": (self.stop_broker, 3),
            "broker, kill -9": (self.kill_broker, 2),
            "broker, frozen": (self.freeze_broker, 1),
        }

    def find_worker(self):
        """A worker's pid; the server may be recovering from what was done to it before."""
        def look():
            try:
                with self.cluster.connect("postgres") as c:
                    found = c.execute("SELECT pid FROM pg_stat_activity "
                                      "WHERE backend_type LIKE 'kafka_engine worker%'").fetchall()
            except psycopg.OperationalError:
                return None
            return found and self.random.choice(found)[0]

        return wait_until(look, 60, "a worker runs")

    def kill_worker(self):
        pid = self.find_worker()
        try:
            self.cluster.kill_process(pid)
        except ProcessLookupError:
            return
        wait_until(lambda: not self.cluster.alive(pid), 10, "the worker is gone")
        self.cluster.wait_ready()

    def terminate_worker(self):
        pid = self.find_worker()
        with self.cluster.connect("postgres") as c:
            c.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: not self.cluster.alive(pid), 10, "a terminated worker ends")

    def kill_server(self):
        self.cluster.kill_server()
        self.cluster.start()

    def stop_server(self):
        self.cluster.restart("immediate")

    def stop_broker(self):
        self.broker.stop()
        self.broker.start()

    def kill_broker(self):
        self.broker.kill()
        self.broker.start()

    def freeze_broker(self):
        self.broker.freeze()
        time.sleep(self.random.uniform(0.5, 4))
        self.broker.thaw()

    def round(self):
        pause = self.random.uniform(0.2, 4)
        names = list(self.kinds)
        name = self.random.choices(names, [self.kinds[n][1] for n in names])[0]
        time.sleep(pause)
        self.kinds[name][0]()
        self.killed[name] += 1
        return pause, name


def create_views(db, broker, topic):
    db.topic_table("records", "n bigint, key int, amount numeric, text text, _partition int, "
                              "_offset bigint", broker, topic)
    db.execute(f"CREATE TABLE names AS SELECT k AS key, 'name ' || k AS name "
               f"FROM generate_series(0, {KEYS - 1}) k")
    db.execute("ALTER TABLE names ADD PRIMARY KEY (key)")
    columns = "r._partition, r._offset, r.n, r.key, r.amount"
    db.view("plain", f"SELECT {columns} FROM records r")
    db.view("joined", f"SELECT {columns}, names.name FROM records r JOIN names USING (key)")
    db.view("durable", f"SELECT {columns} FROM records r", synchronous_commit="on")


def in_log(broker, topic):
    """{(partition, offset): n} as an independent consumer reads it."""
    return {(m.partition(), m.offset()): json.loads(m.value())["n"]
            for m in broker.read_all(topic, isolation_level="read_committed")}


def compare(db, view, log):
    """(rows, lost, doubled, foreign) of one view."""
    rows = collections.Counter()
    foreign = 0
    for partition, offset, n, key, amount in db.rows(
            f"SELECT _partition, _offset, n, key, amount::text FROM {view}"):
        rows[(partition, offset)] += 1
        foreign += log.get((partition, offset)) != n or amount != f"{n}.25"
    lost = sum(1 for place in log if place not in rows)
    doubled = sum(count - 1 for count in rows.values())
    return sum(rows.values()), lost, doubled, foreign


def caught_up(db, log):
    """Whether every view's positions have reached the log's end."""
    ends = collections.Counter()
    for partition, offset in log:
        ends[partition] = max(ends[partition], offset + 1)
    behind = db.value("""
        SELECT count(*) FROM unnest(%s::text[]) v, unnest(%s::int[], %s::bigint[]) e (partition, last)
        WHERE NOT EXISTS (SELECT FROM kafka.positions p WHERE p.view = v::regclass
                          AND p.partition = e.partition AND p.next_offset >= e.last)""",
                      [list(VIEWS), list(ends), list(ends.values())])
    return behind == 0


def run(rounds, seed, rate):
    print(f"seed {seed}, {rounds} rounds, {rate} records a second, {PARTITIONS} partitions",
          flush=True)
    with Kafka() as broker, Cluster(settings={"log_min_messages": "warning"}) as cluster:
        topic = broker.create_topic(f"chaos-{uuid.uuid4().hex[:8]}", PARTITIONS)
        with Database(cluster, name="chaos", keep=True) as db:
            create_views(db, broker, topic)
        producer = Producer(broker, topic, rate, seed)
        producer.start()
        chaos = Chaos(cluster, broker, seed)
        for number in range(1, rounds + 1):
            pause, name = chaos.round()
            print(f"round {number:>3}: after {pause:.1f} s: {name:<24} "
                  f"{producer.acknowledged:>9,} records acknowledged", flush=True)
        left = producer.stop()
        if left:
            print(f"{left} records were never acknowledged")
        log = in_log(broker, topic)
        with Database(cluster, name="chaos", create=False) as db:
            catch_up(db, log)
            good = report(db, chaos.killed, log, producer.acknowledged)
        cluster.check_log()
    return good


def catch_up(db, log):
    begin = time.monotonic()
    try:
        wait_until(lambda: caught_up(db, log), CATCH_UP, "caught up", 0.2)
        print(f"caught up {time.monotonic() - begin:.1f} s after the last record")
    except TimedOut:
        print(f"NOT caught up within {CATCH_UP} s")


def report(db, killed, log, acknowledged):
    for view, state, reason, error in db.rows(
            "SELECT view, state, reason, error FROM kafka.views ORDER BY 1"):
        print(f"view {view}: {state} {reason or ''} {error or ''}")
    print()
    for name, times in sorted(killed.items()):
        print(f"{name:<26}{times:>4} times")
    print(f"\n{'records in the log':<26}{len(log):>10,}   ({acknowledged:,} acknowledged)")
    print(f"{'view':<12}{'rows':>12}{'lost':>8}{'doubled':>9}{'wrong':>7}")
    good = len(log) > 0 and len(log) >= acknowledged
    for view in VIEWS:
        rows, lost, doubled, foreign = compare(db, view, log)
        print(f"{view:<12}{rows:>12,}{lost:>8}{doubled:>9}{foreign:>7}")
        good = good and lost == doubled == foreign == 0
    print("\nnone lost, none doubled" if good else "\nROWS AND LOG DIFFER")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=int, default=1500, help="records a second")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1000000)
    try:
        good = run(given.rounds, seed, given.rate)
    finally:
        print(f"again with: make chaos ROUNDS={given.rounds} SEED={seed}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
