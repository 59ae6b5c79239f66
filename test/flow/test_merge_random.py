"""Generated views and streams over generated records: each holds in the end what its query over all records
gives, whatever happened meanwhile: workers killed, the server killed, views paused, refreshed, emptied and
rewound, consumers changed, batches of every size.

QUERIES=20000 SEED=7 make tap TESTS=test/flow/test_merge_random.py for more of it.
"""

import os
import random

import psycopg
import pytest

from test_merge import COLUMNS, check_same, make_dim, random_record
from wait import wait_until

GROUPS = ["f.g", "f.k", "f.b", "f.i % 5", "lower(f.k)", "coalesce(f.g, -1)", "date_trunc('day', f.t)",
          "d.name", "f.n IS NULL", "round(f.n / 100)", "f._partition", "ARRAY[f.g, f.i % 2]"]
AGGREGATES = [
    "count(*)", "count({any})", "sum({number})", "avg({number})", "min({any})", "max({any})",
    "bool_and(f.b)", "bool_or(f.b)", "every(f.i > 0)", "bit_and(f.i)", "bit_or(f.l)", "bit_xor(f.i)",
    "variance({exact})", "stddev({exact})", "var_pop({exact})", "stddev_pop({exact})",
    "stddev(f.f)", "var_pop(f.r)", "corr(f.f, f.i)", "regr_slope(f.f, f.r)", "regr_intercept(f.r, f.f)",
    "covar_samp(f.f, f.i)", "regr_count(f.i, f.l)", "avg(f.t - timestamptz '2026-01-01')",
    "sum({number}) * 2 + count(*)", "coalesce(max(f.i), 0) - coalesce(min(f.i), 0)",
    "round(avg({exact}), 3)", "count(*) > 10", "product(1 + f.g / 1000.0)",
]
# For streams: how a column takes another batch's value.
MERGED = {"count(*)": "{t} + {c}", "count({any})": "{t} + {c}",
          "sum({exact})": "coalesce({t} + {c}, {t}, {c})",
          "min({any})": "least({t}, {c})", "max({any})": "greatest({t}, {c})"}
FILTERS = ["f.b", "f.i > 0", "f.k IS NOT NULL", "f.n < 100 OR f.g = 1", "false",
           "f.g IN (SELECT id FROM dim)"]
CONDITIONS = ["f.b", "f.i <> 7", "f.g IN (0, 1, 2)", "f._offset % 2 = 0", "f.k > 'a'",
              "EXISTS (SELECT FROM dim WHERE id = f.g)"]
HAVINGS = ["count(*) > 5", "sum(f.i) > 0", "avg(f.n) IS NOT NULL", "bool_or(f.b)"]
NUMBERS = ["f.i", "f.l", "f.n", "f.f", "f.g * f.i", "abs(f.n)"]
EXACT = ["f.i", "f.l", "f.n", "f.g + f.i", "f.n * 3"]
ANY = ["f.i", "f.k", "f.n", "f.t", "f.f"]
SOURCES = ["facts f LEFT JOIN dim d ON d.id = f.g", "facts f JOIN dim d ON d.id = f.g",
           "(SELECT * FROM facts WHERE g IS DISTINCT FROM 3) f LEFT JOIN dim d ON d.id = f.g"]
COLUMN_EXPRESSIONS = ["f.i", "upper(f.k)", "f.n * 2", "d.name", "f.t", "f.f", "f.b"]


def aggregate(rng, templates):
    template = rng.choice(templates)
    return template, template.format(number=rng.choice(NUMBERS), exact=rng.choice(EXACT),
                                     any=rng.choice(ANY))


def where(rng):
    return f" WHERE {rng.choice(CONDITIONS)}" if rng.random() < 0.4 else ""


def listed(columns):
    return ", ".join(f"{c} AS c{n}" for n, c in enumerate(columns))


class Case:
    """A view or a stream; query is what it holds in the end. rewound: how it may be made to read again."""

    def __init__(self, name, query):
        self.name, self.query, self.relation = name, query, name

    def make(self, db, batch_rows):
        db.view(self.name, self.query, batch_rows=batch_rows)

    def target(self, db):
        return db.value("SELECT target::text FROM kafka.registry WHERE view = %s::regclass", [self.name])

    def rewind(self, db):
        with db.connect(autocommit=False) as c:
            c.execute(f"TRUNCATE {self.target(db)}")
            c.execute("SELECT kafka.seek(%s::regclass, 'earliest')", [self.name])
            c.commit()

    def refresh(self, db):
        db.execute(f"REFRESH MATERIALIZED VIEW {self.name}")


class Aggregates(Case):
    def __init__(self, name, rng):
        groups = rng.sample(GROUPS, rng.choice([0, 1, 1, 2, 3]))
        columns = list(groups)
        if len(groups) > 1 and rng.random() < 0.2:
            columns = columns[1:]  # a group that is not shown
        for _ in range(rng.randint(0 if columns else 1, 4)):
            _, a = aggregate(rng, AGGREGATES)
            if a.endswith(")") and a.count("(") == 1 and rng.random() < 0.3:
                a += f" FILTER (WHERE {rng.choice(FILTERS)})"
            columns.append(a)
        rng.shuffle(columns)
        query = f"SELECT {listed(columns)} FROM {rng.choice(SOURCES)}{where(rng)}"
        if groups:
            query += " GROUP BY " + ", ".join(groups)
            if rng.random() < 0.3:
                query += f" HAVING {rng.choice(HAVINGS)}"
        super().__init__(name, query)
        self.concurrently = rng.choice(["", "CONCURRENTLY "])

    def refresh(self, db):
        db.execute(f"REFRESH MATERIALIZED VIEW {self.concurrently}{self.name}")


class Rows(Case):
    def __init__(self, name, rng):
        columns = rng.sample(COLUMN_EXPRESSIONS, rng.randint(1, 4))
        super().__init__(name, f"SELECT {listed(columns)} FROM {rng.choice(SOURCES)}{where(rng)}")


class Keyed(Case):
    """Keys that stay within a partition, since order does."""

    def __init__(self, name, rng):
        self.how = rng.choice(["update", "nothing"])
        self.deletes = rng.choice([None, "b", "i % 4 = 0"])
        # Columns that the condition names and the query does not give are those of a topic in FROM itself.
        source = f"FROM {rng.choice(SOURCES[:2] if self.deletes else SOURCES)} WHERE f.g IS NOT NULL"
        columns = f"f.g, f._partition AS p, {listed(rng.sample(COLUMN_EXPRESSIONS, rng.randint(1, 3)))}"
        shown = ", ".join(["g", "p"] + [f"c{n}" for n in range(columns.count(" AS c"))])
        self.view = f"SELECT {columns} {source}"
        every = f"SELECT {columns}, f._offset AS o, coalesce(f.{self.deletes or 'g = 99'}, false) AS gone {source}"
        if self.how == "update":
            query = (f"SELECT {shown} FROM (SELECT DISTINCT ON (g, p) * FROM ({every}) e"
                     " ORDER BY g, p, o DESC) l WHERE NOT gone")
        else:
            query = (f"SELECT {shown} FROM (SELECT DISTINCT ON (g, p) * FROM (SELECT *, max(o) FILTER (WHERE"
                     f" gone) OVER (PARTITION BY g, p) AS last FROM ({every}) e) e"
                     " WHERE o > coalesce(last, -1) ORDER BY g, p, o) l")
        super().__init__(name, query)
        self.rng = rng

    def make(self, db, batch_rows):
        more = {"delete_when": self.deletes} if self.deletes else {}
        db.view(self.name, self.view, key="g, p", on_conflict=self.how, batch_rows=batch_rows, **more)

    def rewind(self, db):
        # Nothing has to be taken away where the newest wins; what was deleted comes and goes again.
        if self.how == "nothing" or self.rng.random() < 0.3:
            return super().rewind(db)
        db.execute("SELECT kafka.seek(%s::regclass, 'earliest')", [self.name])


class Stream(Case):
    """Statements that merge groups into a table of their own, in one of several ways."""

    def __init__(self, name, rng):
        group = rng.choice(GROUPS)
        templates = rng.sample(list(MERGED), rng.randint(1, 3))
        made = [aggregate(rng, [t])[1] for t in templates]
        super().__init__(name, f"SELECT {listed([group] + made)} FROM {rng.choice(SOURCES)}{where(rng)}"
                         f" GROUP BY {group}")
        self.relation = f"{name}_t"
        names = [f"c{n + 1}" for n in range(len(made))]
        sets = ", ".join(f"{c} = " + MERGED[t].format(t=f"t.{c}", c=f"x.{c}")
                         for c, t in zip(names, templates))
        both, excluded = ", ".join(["c0"] + names), sets.replace("x.c", "excluded.c")
        news = f"INSERT INTO {self.relation} ({both}) SELECT {', '.join('x.' + c for c in ['c0'] + names)}"
        same = "t.c0 IS NOT DISTINCT FROM x.c0"
        self.statement = rng.choice([
            f"INSERT INTO {self.relation} AS t ({both}) {self.query} ORDER BY 1 ON CONFLICT (c0) DO UPDATE"
            f" SET {excluded}",
            f"MERGE INTO {self.relation} t USING ({self.query}) x ON {same} WHEN MATCHED THEN UPDATE SET {sets}"
            f" WHEN NOT MATCHED THEN INSERT ({both}) VALUES ({', '.join('x.' + c for c in ['c0'] + names)})",
            f"UPDATE {self.relation} t SET fresh = false FROM facts WHERE t.fresh;"
            f" UPDATE {self.relation} t SET {sets} FROM ({self.query}) x WHERE {same};"
            f" {news} FROM ({self.query}) x WHERE NOT EXISTS (SELECT FROM {self.relation} t WHERE {same})",
            f"CALL {name}_p()"])
        self.one_consumer = not self.statement.startswith("INSERT")
        self.body = f"INSERT INTO {self.relation} AS t ({both}) {self.query} ON CONFLICT (c0) DO UPDATE SET {excluded}"

    def make(self, db, batch_rows):
        db.execute(f"CREATE TABLE {self.relation} AS {self.query} LIMIT 0")
        db.execute(f"CREATE UNIQUE INDEX ON {self.relation} (c0) NULLS NOT DISTINCT")
        db.execute(f"ALTER TABLE {self.relation} ADD fresh boolean NOT NULL DEFAULT true")
        db.execute(f"CREATE PROCEDURE {self.name}_p() LANGUAGE plpgsql SET search_path = public AS"
                   f" $$ BEGIN {self.body}; END $$")
        db.execute("SELECT kafka.create_stream(%s, 'facts', %s, jsonb_build_object('batch_rows', %s::int))",
                   [self.name, self.statement, batch_rows])

    def target(self, db):
        return self.relation

    def refresh(self, db):
        pass


KINDS = [Aggregates] * 6 + [Rows, Keyed, Keyed, Stream, Stream]


def disturb(db, cluster, rng, cases):
    """Something that must not be seen in the end."""
    what = rng.choice(["terminate", "pause", "consumers", "rewind", "rewind", "refresh", "refresh", "size",
                       "nothing"])
    some = rng.sample(cases, min(3, len(cases)))
    if what == "terminate":
        for pid in db.column("SELECT pid FROM kafka.workers"):
            db.execute("SELECT pg_terminate_backend(%s)", [pid])
    elif what == "consumers" and not any(getattr(c, "one_consumer", False) for c in cases):
        db.execute(f"ALTER FOREIGN TABLE facts OPTIONS (SET consumers '{rng.randint(1, 3)}')")
    for case in some:
        if what == "pause":
            db.execute("SELECT kafka.pause(%s::regclass)", [case.name])
            db.execute("SELECT kafka.resume(%s::regclass)", [case.name])
        elif what == "size":
            db.execute(f"ALTER MATERIALIZED VIEW {case.name} SET (kafka.batch_rows = {rng.choice([5, 65536])})")
        elif what in ("rewind", "refresh"):
            getattr(case, what)(db)


def kill_the_server(db, cluster):
    """By one of its processes: all sessions end, and what was not on disk is gone."""
    cluster.kill_process(db.value("SELECT min(pid) FROM kafka.workers"))
    wait_until(lambda: not answers(db.connection), 60, "the session has ended")

    def back():
        try:
            db.connection = db.connect()
        except psycopg.OperationalError:
            return False
        return True

    wait_until(back, 60, "the server is back")


def answers(connection):
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.slow
def test_views_and_streams_hold_what_their_queries_give(db, cluster, kafka, new_topic, produce):
    rng = random.Random(int(os.environ.get("SEED", "1")))
    left = int(os.environ.get("QUERIES", "1000"))
    make_dim(db)
    db.execute("CREATE AGGREGATE product(float8) (sfunc = float8mul, stype = float8,"
               " combinefunc = float8mul, initcond = 1)")
    db.execute("CREATE SCHEMA judge")
    made = 0
    while left > 0:
        topic = new_topic(partitions=3)
        db.topic_table("facts", COLUMNS, kafka, topic=topic, consumers=1)
        cases = [rng.choice(KINDS)(f"v{made + n}", rng) for n in range(min(left, 100))]
        made, left = made + len(cases), left - len(cases)
        if made % 200 == 0:  # no statements that are not made for several at once
            cases = [c for c in cases if not getattr(c, "one_consumer", False)]
            db.execute("ALTER FOREIGN TABLE facts OPTIONS (SET consumers '3')")
        size = rng.choice([3, 10, 100, 65536])
        for case in cases:
            case.make(db, size)
        for turn in range(3):
            for partition in range(3):
                produce(topic, [random_record(rng) for _ in range(rng.randint(1, 60))], partition=partition)
            disturb(db, cluster, rng, cases)
            if made % 500 == 0 and turn == 1:
                kill_the_server(db, cluster)
        db.execute("CREATE TABLE judge.facts AS SELECT * FROM facts")
        for case in cases:
            wait_until(lambda c=case: db.state(c.name)[0] == "running", 60,
                       lambda c=case: f"{c.name} runs; it is {db.state(c.name)}: {c.query}")
            db.wait(case.name)
        assert db.rows("SELECT * FROM kafka.dead_letters") == []
        for case in cases:
            shown = case.relation
            if isinstance(case, Stream):
                shown = "(SELECT " + ", ".join(
                    f"c{n}" for n in range(case.query.count(" AS c"))) + f" FROM {case.relation}) t"
            db.execute("SET search_path = judge, public")
            wanted = db.rows(case.query)
            db.execute("RESET search_path")
            check_same(db, shown, case.query, wanted)
        db.execute("DROP FOREIGN TABLE facts CASCADE; DROP TABLE judge.facts")
