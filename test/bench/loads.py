"""From a topic into tables, beside COPY and INSERT of the same rows."""

import json
import os

from database import Database
from measure import RECORDS, Case, cpu_seconds

# Records of the group backlog.
BACKLOG = int(os.environ.get("BENCH_BACKLOG", RECORDS * 20))
COLUMNS = "id bigint, name text, at timestamptz, amount numeric, note text"
NAMES = "id, name, at, amount, note"


def record(n):
    """Some 110 bytes."""
    return (f'{{"id":{n},"name":"customer {n % 1000}","at":"2026-03-{n % 28 + 1:02}T10:{n % 60:02}'
            f':{n * 7 % 60:02}Z","amount":{n % 10000}.{n % 100:02},"note":"{n:020}"}}')


class Into:
    """Cases that put the rows of one topic into tables of one database."""

    def __init__(self, bench, db, topic, columns, names, rows, **options):
        self.bench, self.db, self.columns, self.names, self.rows = bench, db, columns, names, rows
        db.topic_table("records", columns + ", _partition int, _offset bigint", bench.broker, topic,
                       **options)
        self.file = {f: os.path.join(bench.cluster.data, f"rows.{f}") for f in ("csv", "binary")}
        self.lanes = 1

    def worker(self):
        return self.db.value("SELECT pid FROM kafka.workers ORDER BY rows DESC LIMIT 1")

    def use_lanes(self, n):
        if n != self.lanes:
            self.bench.cluster.configure(**{"kafka.lanes": str(n)})
            self.bench.cluster.reload()
            self.db.execute("SELECT pg_sleep(0.3)")
            self.lanes = n

    def view(self, name, query=None, lanes=1, views=1, target=None, after=None, rows=None, **options):
        query = query or f"SELECT {self.names} FROM records"
        names = [f"v{i}" for i in range(views)]

        def prepare():
            self.use_lanes(lanes)
            if target:
                self.db.execute(f"CREATE TABLE target ({target})")
                if after:
                    self.db.execute(after)
            into = {"into": "target"} if target else {}
            for i, v in enumerate(names):
                self.db.view(v, query.replace("{i}", str(i)), paused=True, **into, **options)

        def run():
            self.db.execute("SELECT " + ", ".join(f"kafka.resume('{v}')" for v in names))
            for v in names:
                self.db.wait(v, 900)
            return self.worker(), 0

        def clean():
            for v in names:
                self.db.execute(f"DROP MATERIALIZED VIEW {v}")
            if target:
                self.db.execute("DROP TABLE target")
            # The next case begins with a process of its own, whose CPU and memory are its alone.
            while self.db.rows("SELECT 1 FROM kafka.workers"):
                pass

        return Case(name, run, prepare, clean, rows or self.rows)

    def statement(self, name, sql, columns=None, after=None):
        def prepare():
            self.db.execute(f"CREATE TABLE copied ({columns or self.columns})")
            if after:
                self.db.execute(after)

        def run():
            pid = self.db.connection.info.backend_pid
            used = cpu_seconds(pid)
            self.db.execute(sql)
            return pid, used

        return Case(name, run, prepare, lambda: self.db.execute("DROP TABLE copied"), self.rows)

    def write_files(self):
        """What COPY reads: the rows themselves; left in the table rows too."""
        self.db.execute(f"CREATE TABLE rows AS SELECT {self.names} FROM records")
        for form, path in self.file.items():
            self.db.execute(f"COPY rows TO '{path}' (FORMAT {form})")

    def copies(self, *forms):
        return [self.statement(f"COPY {form.upper()}", f"COPY copied FROM '{self.file[form]}' (FORMAT {form})")
                for form in forms]


def load(bench):
    topic = bench.fill(RECORDS, 4, record)
    with Database(bench.cluster) as db:
        into = Into(bench, db, topic, COLUMNS, NAMES, RECORDS)
        into.write_files()
        db.execute("CREATE TABLE customers AS SELECT 'customer ' || n AS name, n AS no"
                   " FROM generate_series(0, 9999) n; ALTER TABLE customers ADD PRIMARY KEY (name);"
                   " ANALYZE customers")
        where = COLUMNS + ", _partition int, _offset bigint"
        everything = f"SELECT {NAMES}, _partition, _offset FROM records"
        cases = into.copies("csv", "binary") + [
            into.statement("INSERT SELECT from a table", "INSERT INTO copied SELECT * FROM rows"),
            into.view("view, one lane"),
            into.view("view, two lanes", lanes=2),
            into.view("view, primary key (partition, offset)", everything,
                      target=where + ", PRIMARY KEY (_partition, _offset)"),
            into.statement("COPY BINARY, btree on time", f"COPY copied FROM '{into.file['binary']}' (FORMAT binary)",
                           after="CREATE INDEX ON copied (at)"),
            into.view("view, btree on time", target=COLUMNS, after="CREATE INDEX ON target (at)"),
            into.view("view, expressions",
                      "SELECT id + 1 AS id, upper(name) AS name, at, amount * 2 AS amount, note FROM records"),
            into.view("view, join to 10,000 rows",
                      "SELECT r.id, c.no, r.at, r.amount, r.note FROM records r JOIN customers c USING (name)"),
            into.view("view, a filter that keeps 2 %", "SELECT * FROM records WHERE id % 50 = 7"),
            into.view("50 views that keep 2 % each", "SELECT * FROM records WHERE id % 50 = {i}", views=50),
            into.view("10 views", views=10),
        ]
        bench.turns(db, cases)
        bench.table("load", f"{RECORDS:,} records of 110 bytes, 4 partitions, one worker", cases,
                    ["COPY CSV", "COPY BINARY"])
        into.use_lanes(1)


def backlog(bench):
    """Does the rate hold, and what does it take?"""
    topic = bench.fill(BACKLOG, 4, record)
    with Database(bench.cluster) as db:
        into = Into(bench, db, topic, COLUMNS, NAMES, BACKLOG)
        into.write_files()
        cases = into.copies("csv", "binary") + [into.view("view, one lane"), into.view("view, two lanes", lanes=2)]
        bench.turns(db, cases, turns=1)
        bench.table("backlog", f"{BACKLOG:,} records of 110 bytes, 4 partitions, one worker", cases,
                    ["COPY CSV", "COPY BINARY"])
        into.use_lanes(1)
        small, queues = BACKLOG // 10, (4, 8, 16, 32, 64)
        topic = bench.fill(small, 4, record)
        cases = []
        for mb in queues:
            db.topic_table(f"queue{mb}", COLUMNS, bench.broker, topic,
                           server_options={"queued_max_messages_kbytes": str(mb * 1024)})
            cases.append(into.view(f"queue of {mb} MB", f"SELECT {NAMES} FROM queue{mb}", rows=small))
        bench.turns(db, cases, turns=3)
        bench.table("queues", f"{small:,} records of 110 bytes: what librdkafka may keep waiting", cases)


def shapes(bench):
    wide = ", ".join(f"c{i} {t}" for i, t in zip(range(50), ["bigint", "text", "float8", "boolean", "int"] * 10))

    def fifty(n):
        return json.dumps({f"c{i}": (n + i, f"text {n}", n / 7, n % 2 == 0, i)[i % 5] for i in range(50)})

    def padded(size):
        return lambda n: record(n)[:-2] + "x" * (size - 110) + '"}'

    narrow, most = (COLUMNS, NAMES), RECORDS
    names = ", ".join(f"c{i}" for i in range(50))
    for slug, title, n, partitions, value, (columns, listed), codec in (
            ("1kB", "of 1 kB", most // 5, 4, padded(1000), narrow, "none"),
            ("10kB", "of 10 kB", most // 50, 4, padded(10000), narrow, "none"),
            ("columns", "of 50 columns", most // 10, 4, fifty, (wide, names), "none"),
            ("lz4", "of 110 bytes, lz4", most, 4, record, narrow, "lz4"),
            ("zstd", "of 110 bytes, zstd", most, 4, record, narrow, "zstd"),
            ("partition", "of 110 bytes, one partition", most, 1, record, narrow, "none"),
            ("partitions", "of 110 bytes, 64 partitions", most, 64, record, narrow, "none")):
        topic = bench.fill(n, partitions, value, compression_codec=codec)
        with Database(bench.cluster) as db:
            into = Into(bench, db, topic, columns, listed, n)
            into.write_files()
            cases = into.copies("csv", "binary") + [into.view("view, one lane")]
            bench.turns(db, cases)
            bench.table(slug, f"{n:,} records {title}", cases, ["COPY CSV", "COPY BINARY"])


def merge(bench):
    topic = bench.fill(RECORDS, 4, record)
    with Database(bench.cluster) as db:
        into = Into(bench, db, topic, COLUMNS, NAMES, RECORDS)
        into.write_files()
        # One key in ten comes again.
        key = f"id % {RECORDS * 9 // 10}"

        def grouped(by):
            return f"SELECT {by} AS g, count(*) AS n, sum(amount) AS total FROM {{0}} GROUP BY 1"

        conflict = " ON CONFLICT (g) DO UPDATE SET n = copied.n + excluded.n, total = copied.total + excluded.total"
        cases = []
        for title, by in (("ten groups", "id % 10"), (f"{RECORDS:,} groups", "id")):
            cases += [
                into.statement(f"INSERT SELECT, {title}",
                               "INSERT INTO copied " + grouped(by).format("rows") + conflict,
                               "g bigint PRIMARY KEY, n bigint, total numeric"),
                into.view(f"view, {title}", grouped(by).format("records"))]
        cases += [
            into.statement("INSERT SELECT, upsert", f"INSERT INTO copied SELECT DISTINCT ON ({key}) {key}, name, at,"
                           f" amount, note FROM rows ORDER BY {key}, id DESC ON CONFLICT (id) DO UPDATE SET"
                           " name = excluded.name, at = excluded.at, amount = excluded.amount, note = excluded.note",
                           COLUMNS.replace("id bigint", "id bigint PRIMARY KEY")),
            into.view("view, upsert by key", f"SELECT {key} AS id, name, at, amount, note FROM records",
                      key="id", on_conflict="update")]
        bench.turns(db, cases)
        bench.table("merge", f"{RECORDS:,} records merged", cases)
