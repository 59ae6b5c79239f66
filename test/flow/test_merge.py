"""Views that merge, on a real Kafka: a view holds what its query over all records would give."""

import decimal
import json
import math
import random

import pytest

from producing import Producing
from wait import wait_until

COLUMNS = ("g int, k text, b boolean, i int, l bigint, n numeric, f float8, r real, t timestamptz,"
           " _partition int, _offset bigint, _timestamp timestamptz")

WORDS = [None, "", "a", "ab", "B", "Ünï", "zz"]


def random_record(rng):
    """Few groups, nulls everywhere, numbers of every size."""
    record = {
        "g": rng.choice([None, 0, 1, 2, 3, 4]),
        "k": rng.choice(WORDS),
        "b": rng.choice([None, True, False]),
        "i": rng.choice([None, rng.randint(-1000, 1000)]),
        "l": rng.choice([None, rng.randint(-10**12, 10**12)]),
        "n": rng.choice([None, rng.randint(-10**6, 10**6), round(rng.uniform(-1000, 1000), 3)]),
        "f": rng.choice([None, rng.uniform(-1000, 1000)]),
        "r": rng.choice([None, rng.randint(-100, 100)]),
        "t": rng.choice([None, f"2026-01-{rng.randint(1, 28):02d} 12:00:00+00"]),
    }
    return {name: value for name, value in record.items() if value is not None or rng.random() < 0.5}


@pytest.fixture
def facts(db, kafka, new_topic):
    """A topic of three partitions, and its table."""
    topic = new_topic(partitions=3)
    db.topic_table("facts", COLUMNS, kafka, topic=topic)
    return topic


@pytest.fixture
def fill(facts, produce):
    def make(count, seed=1):
        rng = random.Random(seed)
        for partition in range(3):
            produce(facts, [random_record(rng) for _ in range(count // 3)], partition=partition)
        return count // 3 * 3

    return make


def is_close(a, b):
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)
    if isinstance(a, decimal.Decimal) and isinstance(b, decimal.Decimal) and a.is_nan():
        return b.is_nan()
    return a == b


def in_order(rows):
    """Sorted by all else before the floats, which may differ in their last digits."""
    def key(row):
        floats = [(math.isnan(v), v) for v in row if isinstance(v, float)]
        return [repr(v) for v in row if not isinstance(v, float)], floats

    return sorted(rows, key=key)


def check_same(db, view, query, wanted=None):
    """wanted: what the query gives, where somebody knows."""
    stored = in_order(db.rows(f"SELECT * FROM {view}"))
    wanted = in_order(db.rows(query) if wanted is None else wanted)
    assert len(stored) == len(wanted), f"{len(stored)} rows, {len(wanted)} wanted: {query}"
    for mine, right in zip(stored, wanted):
        assert all(map(is_close, mine, right)), f"{mine}, not {right}: {query}"


# Every kind of keeping, once.
QUERIES = [
    "SELECT g, count(*) AS n FROM facts GROUP BY g",
    "SELECT g, k, count(*) AS c, count(i) AS ci, sum(i) AS si, sum(l) AS sl, sum(n) AS sn, sum(f) AS sf,"
    " sum(r) AS sr, min(i) AS mi, max(l) AS ml, min(k) AS mk, max(t) AS mt, min(n) AS mn, max(f) AS mf"
    " FROM facts GROUP BY g, k",
    "SELECT k, bool_and(b) AS ba, bool_or(b) AS bo, every(b) AS e, bit_and(i) AS xa, bit_or(i) AS xo,"
    " bit_xor(l) AS xx FROM facts GROUP BY k",
    "SELECT count(*) AS c, sum(n) AS s, max(k) AS m FROM facts",
    "SELECT count(*) FILTER (WHERE b) AS yes, count(*) FILTER (WHERE NOT b) AS no, g FROM facts GROUP BY g",
    "SELECT g, avg(i) AS ai, avg(l) AS al, avg(n) AS an, avg(f) AS af, avg(r) AS ar FROM facts GROUP BY g",
    "SELECT avg(i) AS a, stddev(n) AS s FROM facts",
    "SELECT g, variance(i) AS v1, var_pop(l) AS v2, var_samp(n) AS v3, stddev(i) AS s1,"
    " stddev_pop(n) AS s2, stddev_samp(l) AS s3 FROM facts GROUP BY g",
    "SELECT g, stddev(f) AS s, variance(r) AS v, corr(f, i) AS c, regr_slope(f, r) AS slope,"
    " regr_count(f, r) AS rc, covar_pop(f, i) AS cp FROM facts GROUP BY g",
    "SELECT k, count(*) AS n FROM facts GROUP BY k HAVING count(*) > 40 AND avg(i) > 0",
    "SELECT g, sum(i) * 100.0 / nullif(count(*), 0) AS share, 'x' || k AS kx FROM facts GROUP BY g, k",
    "SELECT i % 3 AS m, date_trunc('day', t) AS d, count(*) FROM facts WHERE f > 0 GROUP BY 1, 2",
    "SELECT upper(k) AS u FROM facts GROUP BY k",
    "SELECT g FROM facts GROUP BY g",
    "SELECT d.name, count(*) AS n, avg(x.n) AS a FROM facts x JOIN dim d ON d.id = x.g GROUP BY d.name",
    "SELECT d.id, d.name, sum(x.l) FROM facts x LEFT JOIN dim d ON d.id = x.g GROUP BY d.id",
    "SELECT s.w, count(*), sum(s.z) FROM (SELECT k AS w, coalesce(i, 0) AS z FROM facts WHERE b) s"
    " GROUP BY s.w",
    "SELECT g, greatest(max(i), 5) AS m, count(*) AS a, count(*) AS b FROM facts GROUP BY g",
    "SELECT range_agg(int4range(i, i + 10)) AS r FROM facts WHERE i IS NOT NULL",
]


def make_dim(db):
    db.execute("CREATE TABLE dim (id int PRIMARY KEY, name text)")
    db.execute("INSERT INTO dim VALUES (0, 'zero'), (1, 'one'), (2, 'two')")


@pytest.mark.parametrize("batch_rows", [7, 65536])
def test_every_kind_of_aggregate(db, facts, fill, batch_rows):
    make_dim(db)
    for n, query in enumerate(QUERIES):
        db.view(f"v{n}", query, batch_rows=batch_rows)
    for n, query in enumerate(QUERIES):  # before the first record: one row, or none
        db.wait_state(f"v{n}", "running")
        check_same(db, f"v{n}", query)
    for seed in (1, 2):
        fill(300, seed)
        for n, query in enumerate(QUERIES):
            db.wait(f"v{n}")
            check_same(db, f"v{n}", query)
    assert db.value("SELECT count(*) FROM kafka.views WHERE state <> 'running'") == 0


def test_consumers_merge_into_the_same_groups(db, kafka, new_topic, produce):
    """Their number changes while records come; nobody is in anybody's way."""
    topic = new_topic(partitions=4)
    db.topic_table("facts", COLUMNS, kafka, topic=topic, consumers=4)
    queries = {"v": "SELECT g, i, count(*) AS n, sum(l) AS s, avg(n) AS a FROM facts GROUP BY g, i",
               "w": "SELECT i % 3 AS i, max(l) AS m, count(*) AS n FROM facts GROUP BY 1",
               "one": "SELECT count(*) AS n, sum(l) AS s FROM facts"}
    for view, query in queries.items():
        db.view(view, query, batch_rows=50)
    rng = random.Random(5)

    def some(first, last):
        return [{"record": {"partition": n % 4, "value": json.dumps(
            {"g": rng.randint(0, 3), "i": rng.randint(0, 20), "l": n, "n": n})}} for n in range(first, last)]

    with Producing(produce, topic, some, 0, 500):
        for consumers in (2, 1, 3, 4):
            merged = "SELECT coalesce(sum(n), 0) FROM w"
            before = db.value(merged)
            db.execute(f"ALTER FOREIGN TABLE facts OPTIONS (SET consumers '{consumers}')")
            wait_until(lambda: db.value("SELECT max(workers) FROM kafka.views") == consumers, 30,
                       f"{consumers} workers")
            wait_until(lambda m=merged, n=before: db.value(m) > n + 1000, 30, "they merge")
    for view, query in queries.items():
        db.wait(view)
        check_same(db, view, query)
    assert db.value("SELECT count(*) FROM kafka.history WHERE state NOT IN ('starting', 'running',"
                    " 'catching up')") == 0
    assert db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


def test_a_bad_record_alone_is_refused(db, facts, produce):
    db.view("v", "SELECT g, sum(1000 / i) AS s, count(*) AS n FROM facts GROUP BY g", on_error="skip")
    produce(facts, [{"g": n % 3, "i": 0 if n in (17, 500, 501) else 7} for n in range(900)], partition=0)
    db.wait("v")
    assert db.rows("SELECT sum(n), sum(s) FROM v") == [(897, 897 * 142)]
    assert db.value("SELECT rejects FROM kafka.views WHERE view = 'v'::regclass") == 3
    # A key that no index can hold is its record's fault.
    db.view("w", "SELECT k, count(*) AS n FROM facts GROUP BY k", on_error="skip")
    rng = random.Random(1)
    long = "".join(chr(rng.randint(33, 126)) for _ in range(20000))
    produce(facts, [{"k": "a"}, {"k": long}, {"k": "a"}], partition=1)
    db.wait("w")
    assert db.rows("SELECT k, n FROM w ORDER BY k") == [("a", 2), (None, 900)]


def test_rewound_and_emptied_it_is_the_same_again(db, facts, fill):
    db.view("v", QUERIES[7], batch_rows=50)
    fill(300)
    db.wait("v")
    check_same(db, "v", QUERIES[7])
    states = db.value("SELECT target::text FROM kafka.registry WHERE view = 'v'::regclass")
    with db.connect(autocommit=False) as other:
        other.execute(f"TRUNCATE {states}")
        other.execute("SELECT kafka.seek('v', 'earliest')")
        other.commit()
    db.wait("v")
    check_same(db, "v", QUERIES[7])


def test_all_that_belongs_to_it_follows(db, facts, fill):
    hidden = ("SELECT count(*) FROM pg_class WHERE relnamespace = 'kafka'::regnamespace"
              " AND relkind IN ('r', 'v') AND relname ~ '^[qs]_'")
    with db.role() as someone:
        db.execute(f"GRANT ALL ON SCHEMA public TO {someone}")
        db.execute(f"GRANT SELECT ON facts TO {someone}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER broker TO {someone}")
        db.execute("CREATE SCHEMA other")
        db.view("v", QUERIES[5])
        fill(30)
        db.wait("v")
        db.execute(f"ALTER MATERIALIZED VIEW v OWNER TO {someone}")
        assert db.column("SELECT DISTINCT relowner::regrole::text FROM pg_class c JOIN kafka.registry r"
                         " ON c.oid IN (r.view, r.query, r.target)") == [someone]
        db.execute("ALTER MATERIALIZED VIEW v RENAME TO w")
        db.execute("ALTER MATERIALIZED VIEW w SET SCHEMA other")
        db.execute("ALTER MATERIALIZED VIEW other.w RENAME COLUMN ai TO mean")
        fill(30, 2)
        db.wait("other.w")
        check_same(db, "other.w", QUERIES[5])
        assert db.value(hidden) == 2
        db.execute("DROP MATERIALIZED VIEW other.w")
        assert db.value(hidden) == 0
        db.view("v", QUERIES[5])
        db.execute("DROP FOREIGN TABLE facts CASCADE")
        assert db.value(hidden) == 0


def test_kills_and_restarts_lose_nothing(db, cluster, facts, fill):
    db.view("v", QUERIES[7], batch_rows=20)
    db.view("w", QUERIES[8], batch_rows=20)
    for seed in range(4):
        fill(300, seed)
        wait_until(lambda: db.column("SELECT pid FROM kafka.workers"), 30, "there is a worker")
        pid = db.column("SELECT pid FROM kafka.workers")[0]
        db.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: pid not in db.column("SELECT pid FROM kafka.workers"), 30,
                   "the worker has gone")
    db.wait("v")
    db.wait("w")
    check_same(db, "v", QUERIES[7])
    check_same(db, "w", QUERIES[8])
