"""Where a batch's time goes: the counters of kafka.workers, which are always on, over views of one topic.

A view's wall time, from its resume to the last row, beside what its threads did in it: each lane fetches, decodes and
waits for room in its ring; the server's thread applies and commits, and waits the rest of the time. What is close to
the wall time limits the view.
"""

import time

from database import Database
from loads import COLUMNS, NAMES, record
from measure import RECORDS, TURNS, median_row

SPANS = ("fetch", "decode", "ring", "apply", "commit")


def profile(bench):
    topic = bench.fill(RECORDS, 4, record)
    listed = f"SELECT {NAMES} FROM records"
    cases = [("columns", listed, "", ""), ("columns, two lanes", listed, "", "2"),
             ("expressions", "SELECT id + 1 AS id, upper(name) AS name, at, amount * 2 AS amount, note FROM records", "", ""),
             ("columns, btree on id", listed, "CREATE INDEX ON target (id)", ""),
             ("ten groups", "SELECT id % 10 AS g, count(*) AS n, sum(amount) AS total FROM records GROUP BY 1", None, "")]
    lines = []
    with Database(bench.cluster) as db:
        db.topic_table("records", COLUMNS, bench.broker, topic)
        for name, query, after, lanes in cases:
            bench.cluster.configure(**{"kafka.lanes": lanes or "1"})
            bench.cluster.reload()
            spans = median_row([one_load(db, query, after) for _ in range(TURNS)])
            lines.append([name, *(f"{s:.2f}" for s in spans[:-1]), f"{spans[-1] / RECORDS:.0f}"])
    bench.write("profile", f"{RECORDS:,} records of 110 bytes, 4 partitions: seconds",
                ["view", "wall", "lanes: fetch", "decode", "ring", "server: apply", "commit", "bytes of WAL a record"], lines)


def one_load(db, query, after):
    """Wall seconds, seconds of each span, bytes of WAL."""
    if after is not None:
        db.execute(f"CREATE TABLE target ({COLUMNS}); {after}")
    db.view("v", query, paused=True, **({} if after is None else {"into": "target"}))
    begin = time.monotonic()
    db.execute("SELECT kafka.resume('v')")
    db.wait("v", 900)
    wall = time.monotonic() - begin
    columns = ", ".join(f"extract(epoch FROM {s}_time)::float8" for s in SPANS)
    found = db.row(f"SELECT {columns}, wal_bytes FROM kafka.workers ORDER BY rows DESC LIMIT 1")
    db.execute("DROP MATERIALIZED VIEW v")
    db.execute("DROP TABLE IF EXISTS target")
    while db.rows("SELECT 1 FROM kafka.workers"):
        pass
    return (wall, *found)
