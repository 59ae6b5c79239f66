"""Disasters at random moments while a producer writes; at the end, rows against the log.

    make chaos ROUNDS=20 SEED=7        the same seed does the same things after the same pauses

Views of each sort and a stream (views.py) read one topic with several partitions. Each round waits a random
while and then does something bad (kinds.py): kills processes, the server, the broker; fills or breaks the
disk; promotes a standby that lags, goes back to an earlier moment; alters, pauses, refreshes. When all
rounds are done the producer ends, the views catch up, and each is compared with the same query over what an
independent consumer reads in the topic: nothing lost, nothing doubled. Exit code 0 only then.
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

import views  # noqa: E402
from broker import Kafka  # noqa: E402
from database import Database  # noqa: E402
from kinds import DATABASE, Chaos  # noqa: E402
from wait import TimedOut, wait_until  # noqa: E402

PARTITIONS = 6
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
                key = self.random.randrange(views.KEYS)
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


def run(rounds, seed, rate, only):
    print(f"seed {seed}, {rounds} rounds, {rate} records a second, {PARTITIONS} partitions",
          flush=True)
    done = collections.Counter()
    with Kafka() as broker:
        chaos = Chaos(broker, random.Random(seed), only)
        try:
            topic = broker.create_topic(f"chaos-{uuid.uuid4().hex[:8]}", PARTITIONS)
            with Database(chaos.cluster, name=DATABASE, keep=True) as db:
                views.create(db, broker, topic)
            producer = Producer(broker, topic, rate, seed)
            producer.start()
            for number in range(1, rounds + 1):
                pause, name = chaos.round()
                done[name] += 1
                print(f"round {number:>3}: after {pause:.1f} s: {name:<24} "
                      f"{producer.acknowledged:>9,} records acknowledged", flush=True)
            left = producer.stop()
            if left:
                print(f"{left} records were never acknowledged")
            log = views.read_log(broker, topic)
            with Database(chaos.cluster, name=DATABASE, create=False) as db:
                catch_up(db, log)
                good = report(db, done, log, producer.acknowledged)
            chaos.cluster.check_log()
            print(f"{chaos.servers} servers, one after the other")
        finally:
            chaos.close()
    return good


def catch_up(db, log):
    begin = time.monotonic()
    try:
        wait_until(lambda: views.behind(db, log) == 0, CATCH_UP, "caught up", 0.2)
        print(f"caught up {time.monotonic() - begin:.1f} s after the last record")
    except TimedOut:
        print(f"NOT caught up within {CATCH_UP} s")


def report(db, done, log, acknowledged):
    for view, state, reason, error in db.rows(
            "SELECT view, state, reason, error FROM kafka.views ORDER BY 1"):
        print(f"view {view}: {state} {reason or ''}; newest error: {error or 'none'}")
    print()
    for name, times in sorted(done.items()):
        print(f"{name:<26}{times:>4} times")
    refused = db.value("SELECT (SELECT count(*) FROM kafka.dead_letters) + (SELECT count(*) FROM kafka.gaps)")
    print(f"\n{'records in the log':<26}{len(log):>10,}   ({acknowledged:,} acknowledged,"
          f" {refused} refused or missing)")
    print(f"{'view':<12}{'rows':>12}{'lost':>8}{'doubled':>9}")
    good = len(log) > 0 and len(log) >= acknowledged and refused == 0
    views.load_log(db, log)
    for view in views.ALL:
        rows, lost, doubled = views.compare(db, view)
        print(f"{view:<12}{rows:>12,}{lost:>8}{doubled:>9}")
        good = good and lost == doubled == 0
    print("\nnone lost, none doubled" if good else "\nROWS AND LOG DIFFER")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=int, default=1500, help="records a second")
    parser.add_argument("--only", help="kinds whose names have this")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1000000)
    try:
        good = run(given.rounds, seed, given.rate, given.only)
    finally:
        print(f"again with: make chaos ROUNDS={given.rounds} SEED={seed}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
