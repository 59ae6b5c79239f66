"""The product in a minute: a private server, a broker, a topic that becomes rows.

Prints the SQL that it runs. Nothing is installed and nothing stays: the server is a copy in a
scratch directory, and goes with the broker when this program ends, by Ctrl-C too.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import broker as brokers  # noqa: E402
from cluster import Cluster  # noqa: E402

SECONDS = float(os.environ.get("DEMO_SECONDS", "12"))
RATE = 2000  # records per second
TERMINAL = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

KEYWORDS = re.compile(
    r"\b(CREATE|EXTENSION|SERVER|FOREIGN|DATA|WRAPPER|OPTIONS|TABLE|MATERIALIZED|VIEW|WITH|AS|SELECT"
    r"|FROM|JOIN|ON|WHERE|LIMIT|ORDER|BY|DESC|USER|MAPPING|FOR|INSERT|INTO|VALUES|PRIMARY|KEY|DROP"
    r"|CASCADE|CURRENT_USER|EXPLAIN|COSTS|OFF|AND|INDEX)\b")


def colour(code, text):
    return f"\033[{code}m{text}\033[0m" if TERMINAL else text


def say(text):
    print("\n" + colour("32", "-- " + text), flush=True)


def highlight(statement):
    """Keywords bold, strings yellow."""
    parts = re.split(r"('[^']*')", statement)
    return "".join(colour("33", p) if p.startswith("'") else
                   KEYWORDS.sub(lambda m: colour("1", m.group()), p) for p in parts)


class Session:
    """Shows each statement, then lets psql run it and print what comes."""

    def __init__(self, cluster):
        self.command = [cluster.installation.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1",
                        "-P", "footer=off", "-P", "null=∅"]
        self.environment = cluster.client_environment("postgres")

    def run(self, statement):
        statement = statement.strip()
        print(highlight(statement), flush=True)
        done = subprocess.run([*self.command, "-c", statement], env=self.environment)
        if done.returncode != 0:
            raise SystemExit(f"psql ended with {done.returncode}")


class Producer(threading.Thread):
    """Clicks, RATE of them a second, until stop() is called; counts what the view must show."""

    PAGES = ["/", "/basket", "/shoes/red", "/shoes/blue", "/hats", "/checkout"]

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.producer = broker.producer(linger_ms=1)
        self.sent = 0
        self.paying = 0
        self._ending = threading.Event()

    def send(self, n):
        for _ in range(n):
            amount = random.choice([0, 0, 0, random.randrange(100, 20000) / 100])
            click = {"user_id": random.randrange(1, 6), "url": random.choice(self.PAGES),
                     "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "amount": amount}
            self.producer.produce("clicks", json.dumps(click), key=str(click["user_id"]))
            self.sent += 1
            self.paying += amount > 0
        self.producer.poll(0)

    def run(self):
        begin, first = time.monotonic(), self.sent
        while not self._ending.wait(0.01):
            due = int((time.monotonic() - begin) * RATE) - (self.sent - first)
            self.send(max(due, 0))

    def stop(self):
        self._ending.set()
        self.join()
        self.producer.flush(10)


def watch(cluster, producer, seconds):
    """Rows and lag going by, a line each half second."""
    print(colour("36", f"{'produced':>10} {'rows in view':>13} {'records behind':>15} "
                       f"{'newest row':>11}   newest purchase"))
    with cluster.connect() as c:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.5)
            rows, name, page, amount, age = c.execute("""
                SELECT (SELECT count(*) FROM purchases), name, page, amount,
                       extract(epoch FROM clock_timestamp() - produced) * 1000
                FROM purchases ORDER BY produced DESC LIMIT 1""").fetchone() or (0, "", "", "", 0)
            behind = c.execute("SELECT sum(records_behind) FROM kafka.lag "
                               "WHERE view = 'purchases'::regclass").fetchone()[0]
            shown = "?" if behind is None else behind
            print(f"{producer.sent:>10,} {rows:>13,} {shown:>15} {age:>8.0f} ms   "
                  f"{colour('33', f'{name} {page} {amount}')}", flush=True)


def show(cluster, broker, kind):
    session = Session(cluster)
    broker.create_topic("clicks", 4)
    producer = Producer(broker)
    producer.send(1000)
    producer.producer.flush(10)

    say(f"PostgreSQL {cluster.installation.version} and "
        f"{'an Apache Kafka' if kind == 'kafka' else 'a mock of Kafka'}, both private to this demo. "
        "The topic clicks holds 1,000 records.")
    session.run("CREATE EXTENSION kafka_engine;")
    session.run(f"""
CREATE SERVER broker FOREIGN DATA WRAPPER kafka
  OPTIONS (bootstrap_servers '{broker.bootstrap}');
CREATE USER MAPPING FOR CURRENT_USER SERVER broker;""")
    say("A topic is a foreign table. Columns that begin with _ are the record's metadata.")
    session.run("""
CREATE FOREIGN TABLE clicks (
  user_id bigint, url text, at timestamptz, amount numeric,
  _partition int, _offset bigint, _timestamp timestamptz
) SERVER broker OPTIONS (topic 'clicks', format 'json');""")
    say("Look at it. A SELECT is bounded, and takes nothing away.")
    session.run("SELECT user_id, url, amount, _partition, _offset FROM clicks "
                "WHERE _partition = 1 LIMIT 4;")
    say("A table of ours to join with.")
    session.run("""
CREATE TABLE users (id bigint PRIMARY KEY, name text);
INSERT INTO users VALUES (1, 'Ada'), (2, 'Bo'), (3, 'Cy'), (4, 'Di'), (5, 'Ed');""")
    say("A continuous view: from here on, what somebody pays for is a row, exactly once.")
    session.run("""
CREATE MATERIALIZED VIEW purchases WITH (kafka.continuous) AS
  SELECT c._timestamp AS produced, u.name, split_part(c.url, '/', 2) AS page, c.amount
  FROM clicks c JOIN users u ON u.id = c.user_id
  WHERE c.amount > 0;""")
    session.run("CREATE INDEX ON purchases (produced);")
    say(f"A producer writes {RATE:,} clicks a second for {SECONDS:g} s.")
    producer.start()
    watch(cluster, producer, SECONDS)
    producer.stop()
    say("The producer stops. Wait until all of it is in the view; then count.")
    session.run("SELECT kafka.wait('purchases', '30 s') AS caught_up;")
    session.run("SELECT name, count(*) AS purchases, sum(amount) AS paid FROM purchases "
                "GROUP BY name ORDER BY name;")
    session.run("SELECT view, state, rows FROM kafka.views;")
    with cluster.connect() as c:
        rows = c.execute("SELECT count(*) FROM purchases").fetchone()[0]
    verdict = "none lost, none doubled" if rows == producer.paying else "THESE DIFFER"
    say(f"{producer.sent:,} records produced, {producer.paying:,} of them with an amount; "
        f"{rows:,} rows: {verdict}.")
    say("And away: a DROP takes worker and positions along.")
    session.run("DROP MATERIALIZED VIEW purchases;")
    return rows == producer.paying


OWN_KAFKA = """
On your own server and Kafka:

  make && sudo make install
  # postgresql.conf, then restart:
  shared_preload_libraries = 'kafka_engine'

  CREATE EXTENSION kafka_engine;
  CREATE SERVER broker FOREIGN DATA WRAPPER kafka
    OPTIONS (bootstrap_servers 'kafka.example.com:9092');
  -- any property of librdkafka is an option, with _ for . ; secrets go into the user mapping:
  --   ALTER SERVER broker OPTIONS (ADD security_protocol 'sasl_ssl', ADD sasl_mechanism 'PLAIN');
  CREATE USER MAPPING FOR CURRENT_USER SERVER broker;
  --   OPTIONS (sasl_username '...', sasl_password '...')

README.md has the rest. `BROKER=kafka make demo` shows this on a real Apache Kafka."""


def main():
    kind = sys.argv[1] if len(sys.argv) > 1 else "mock"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with brokers.make(kind) as broker, Cluster() as cluster:
            try:
                good = show(cluster, broker, kind)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the clearing away is not interrupted
    except KeyboardInterrupt:
        print("\nstopped; nothing stays")
        return 130
    print(colour("36", OWN_KAFKA))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
