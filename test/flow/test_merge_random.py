"""Generated queries over generated streams: each view against the same query over all records, with
several batch sizes and consumers, while workers are stopped and views are paused.

QUERIES=1000 SEED=7 make tap TESTS=test/flow/test_merge_random.py for more of it.
"""

import os
import random

import pytest

from test_merge import COLUMNS, check_same, make_dim, random_record
from wait import wait_until

GROUPS = ["f.g", "f.k", "f.b", "f.i % 5", "lower(f.k)", "coalesce(f.g, -1)", "date_trunc('day', f.t)",
          "d.name", "f.n IS NULL", "round(f.n / 100)", "f._partition"]
AGGREGATES = [
    "count(*)", "count({any})", "sum({number})", "avg({number})", "min({any})", "max({any})",
    "bool_and(f.b)", "bool_or(f.b)", "every(f.i > 0)", "bit_and(f.i)", "bit_or(f.l)", "bit_xor(f.i)",
    "variance({exact})", "stddev({exact})", "var_pop({exact})", "stddev_pop({exact})",
    "stddev(f.f)", "var_pop(f.r)", "corr(f.f, f.i)", "regr_slope(f.f, f.r)", "regr_intercept(f.r, f.f)",
    "covar_samp(f.f, f.i)", "regr_count(f.i, f.l)", "avg(f.t - timestamptz '2026-01-01')",
    "sum({number}) * 2 + count(*)", "coalesce(max(f.i), 0) - coalesce(min(f.i), 0)",
    "round(avg({exact}), 3)", "count(*) > 10",
]
FILTERS = ["f.b", "f.i > 0", "f.k IS NOT NULL", "f.n < 100 OR f.g = 1", "false"]
CONDITIONS = ["f.b", "f.i <> 7", "f.g IN (0, 1, 2)", "f._offset % 2 = 0", "f.k > 'a'"]
HAVINGS = ["count(*) > 5", "sum(f.i) > 0", "avg(f.n) IS NOT NULL", "bool_or(f.b)"]
NUMBERS = ["f.i", "f.l", "f.n", "f.f", "f.g * f.i", "abs(f.n)"]
EXACT = ["f.i", "f.l", "f.n", "f.g + f.i", "f.n * 3"]
ANY = ["f.i", "f.k", "f.n", "f.t", "f.f"]
SOURCES = ["facts f LEFT JOIN dim d ON d.id = f.g", "facts f JOIN dim d ON d.id = f.g",
           "(SELECT * FROM facts WHERE g IS DISTINCT FROM 3) f LEFT JOIN dim d ON d.id = f.g"]


def random_query(rng):
    groups = rng.sample(GROUPS, rng.choice([0, 1, 1, 2, 3]))
    columns = list(groups)
    if len(groups) > 1 and rng.random() < 0.2:
        columns = columns[1:]  # a group that is not shown
    for _ in range(rng.randint(0 if columns else 1, 4)):
        a = rng.choice(AGGREGATES).format(number=rng.choice(NUMBERS), exact=rng.choice(EXACT),
                                          any=rng.choice(ANY))
        if a.endswith(")") and a.count("(") == 1 and rng.random() < 0.3:
            a += f" FILTER (WHERE {rng.choice(FILTERS)})"
        columns.append(a)
    rng.shuffle(columns)
    query = "SELECT " + ", ".join(f"{c} AS c{n}" for n, c in enumerate(columns))
    query += f" FROM {rng.choice(SOURCES)}"
    if rng.random() < 0.4:
        query += f" WHERE {rng.choice(CONDITIONS)}"
    if groups:
        query += " GROUP BY " + ", ".join(groups)
        if rng.random() < 0.3:
            query += f" HAVING {rng.choice(HAVINGS)}"
    return query


def disturb(db, rng, views):
    """Something that must not be seen in the end."""
    what = rng.choice(["kill", "pause", "consumers", "nothing"])
    if what == "kill":
        for pid in db.column("SELECT pid FROM kafka.workers"):
            db.execute("SELECT pg_terminate_backend(%s)", [pid])
    elif what == "consumers":
        db.execute(f"ALTER FOREIGN TABLE facts OPTIONS (SET consumers '{rng.randint(1, 3)}')")
    elif what == "pause":
        view = rng.choice(views)
        db.execute("SELECT kafka.pause(%s::regclass)", [view])
        db.execute("SELECT kafka.resume(%s::regclass)", [view])


@pytest.mark.slow
def test_views_hold_what_their_queries_give(db, kafka, new_topic, produce):
    rng = random.Random(int(os.environ.get("SEED", "1")))
    left = int(os.environ.get("QUERIES", "60"))
    make_dim(db)
    while left > 0:
        topic = new_topic(partitions=3)
        db.topic_table("facts", COLUMNS, kafka, topic=topic, consumers=rng.randint(1, 3))
        queries = [random_query(rng) for _ in range(min(left, 20))]
        left -= len(queries)
        views = [f"v{n}" for n in range(len(queries))]
        for view, query in zip(views, queries):
            db.view(view, query, batch_rows=rng.choice([1, 10, 100, 65536]))
        for _ in range(3):
            for partition in range(3):
                produce(topic, [random_record(rng) for _ in range(rng.randint(1, 80))],
                        partition=partition)
            disturb(db, rng, views)
        for view, query in zip(views, queries):
            wait_until(lambda v=view: db.state(v)[0] == "running", 60,
                       lambda v=view: f"{v} runs; it is {db.state(v)}")
            db.wait(view)
            check_same(db, view, query)
        db.execute("DROP FOREIGN TABLE facts CASCADE")
