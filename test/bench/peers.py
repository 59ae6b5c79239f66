"""What others make of the same topic in the same run: make bench PEERS=1.

    ClickHouse 25.8   its Kafka engine into a MergeTree table, by the package chdb (4.x makes no such table)
    kcat              kcat | psql's \\copy into a jsonb table, then INSERT ... SELECT that takes the fields out
    Python            confluent_kafka, json.loads, psycopg: executemany by 1,000, and COPY by 10,000

Each begins at nothing: with a group or a run of its own, into an empty table; programs are loaded and
connected before. Each ends when all rows are in its table and committed, which is checked by their number
and sum. Python's packages go into build/peers, kcat comes by test/lib/setup; nothing of it is needed
elsewhere.
"""

import os
import shlex
import shutil
import subprocess
import sys

from database import Database
from loads import COLUMNS, NAMES, Into, record
from measure import RECORDS, Case, cpu_seconds
from process import die_with_parent, scratch

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
# psycopg with its C parts: what the system has may be the slow one in Python.
PACKAGES = ["chdb==3.7.2", "psycopg[binary]==3.3.9", "confluent-kafka==2.16.1"]
FIELDS = ("(doc->>'id')::bigint, doc->>'name', (doc->>'at')::timestamptz, (doc->>'amount')::numeric,"
          " doc->>'note'")


def prepared_python():
    """The Python of build/peers, which has the packages."""
    subprocess.run([os.path.join(TOP, "test", "lib", "setup"), "peers"], check=True)
    folder = os.path.abspath(os.path.join(TOP, "build", "peers"))
    python, stamp = os.path.join(folder, "bin", "python"), os.path.join(folder, "packages")
    wanted = "\n".join(PACKAGES)
    if not os.path.exists(stamp) or open(stamp).read() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES],
                       check=True)
        with open(stamp, "w") as f:
            f.write(wanted)
    return python


def check(name, found, rows):
    """found: how many, and the sum of their ids, which are 0 to rows - 1."""
    found = tuple(int(n) for n in found)
    if found != (rows, rows * (rows - 1) // 2):
        raise SystemExit(f"{name}: {found[0]:,} rows with the sum {found[1]:,}, expected {rows:,}")


class Program:
    """A peer's process: it gets ready, works when told, and stays until its figures are read."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[1]} ended with {self.process.wait()}")
        return line.split()

    def work(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self):
        self.process.communicate("\n")


def clickhouse(bench, python, topic, consumers, title):
    name = f"ClickHouse 25.8, {title}"
    state = {}

    def prepare():
        state["folder"] = scratch("clickhouse")
        state["program"] = Program(python, os.path.join(HERE, "peer_clickhouse.py"), bench.broker.bootstrap,
                                   topic, consumers, RECORDS, state["folder"])

    def run():
        pid = state["program"].process.pid
        used = cpu_seconds(pid)
        check(name, state["program"].work(), RECORDS)
        return pid, used

    def clean():
        state["program"].end()
        shutil.rmtree(state["folder"])

    return Case(name, run, prepare, clean)


def into_copied(db, name, rows, run, prepare=lambda: None, clean=lambda: None):
    """A case that fills the table copied; several processes do the work, so that no CPU time is shown."""
    def made():
        db.execute(f"CREATE TABLE copied ({COLUMNS})")
        prepare()

    def checked():
        clean()
        check(name, db.row("SELECT count(*), sum(id) FROM copied"), rows)
        db.execute("DROP TABLE copied")

    return Case(name, run, made, checked, rows)


def consumer(bench, db, python, topic, rows, way, batch, name):
    state = {}

    def prepare():
        state["program"] = Program(python, os.path.join(HERE, "peer_consumer.py"), way, batch,
                                   bench.broker.bootstrap, topic, rows, bench.cluster.conninfo(db.name))

    def run():
        check(name, state["program"].work(), rows)
        return None, 0

    return into_copied(db, name, rows, run, prepare, lambda: state["program"].end())


def kcat(bench, db, topic):
    # One document a line; neither of the two control characters stands in JSON.
    copy = r"\copy staging FROM STDIN (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"
    script = (f"kcat -C -q -e -b {bench.broker.bootstrap} -t {topic} -o beginning | "
              f"{shlex.quote(bench.cluster.installation.program('psql'))} -Xq -v ON_ERROR_STOP=1 "
              f"-c {shlex.quote(copy)} -c {shlex.quote(f'INSERT INTO copied SELECT {FIELDS} FROM staging')}")

    def run():
        subprocess.run(["bash", "-o", "pipefail", "-c", script], check=True,
                       env=bench.cluster.client_environment(db.name))
        return None, 0

    return into_copied(db, "kcat, psql copy, INSERT SELECT", RECORDS, run,
                       lambda: db.execute("CREATE UNLOGGED TABLE staging (doc jsonb)"),
                       lambda: db.execute("DROP TABLE staging"))


def peers(bench):
    python = prepared_python()
    tenth = RECORDS // 10
    topic, short = bench.fill(RECORDS, 4, record), bench.fill(tenth, 4, record)
    with Database(bench.cluster) as db:
        into = Into(bench, db, topic, COLUMNS, NAMES, RECORDS)
        into.write_files()
        cases = into.copies("csv", "binary") + [
            into.view("view, one lane"),
            clickhouse(bench, python, topic, 1, "one consumer"),
            clickhouse(bench, python, topic, 2, "two consumers"),
            kcat(bench, db, topic),
            consumer(bench, db, python, topic, RECORDS, "copy", 10000, "Python, COPY by 10,000"),
            consumer(bench, db, python, short, tenth, "insert", 1000,
                     f"Python, INSERT by 1,000, {tenth:,} rows"),
        ]
        bench.turns(db, cases)
        bench.table("peers", f"{RECORDS:,} records of 110 bytes, 4 partitions, beside others", cases,
                    ["COPY CSV", "COPY BINARY", "view, one lane"])
