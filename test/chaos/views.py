"""The views of make chaos, and the verdict: each against the same query over the log.

The log is read by an independent consumer into a table, so that PostgreSQL itself says what each view must
hold. Lost are rows that should be there, doubled those that are there too often or should not be.
"""

import collections
import json

KEYS = 500

COLUMNS = "_partition, _offset, n, key, amount"

# view: (its query over `records`, options, the same over `log` where that says it in another way)
VIEWS = {
    "plain": (f"SELECT {COLUMNS} FROM records", {}, None),
    "joined": (f"SELECT {COLUMNS}, names.name FROM records JOIN names USING (key)", {}, None),
    "durable": (f"SELECT {COLUMNS} FROM records", {"synchronous_commit": "on"}, None),
    "counts": ("SELECT key, count(*) AS records, sum(amount) AS amount, min(n) AS least, max(n) AS most"
               " FROM records GROUP BY key", {}, None),
    "means": ("SELECT n % 7 AS day, avg(amount) AS mean, count(*) FILTER (WHERE key < 100) AS few"
              " FROM records GROUP BY 1 HAVING count(*) > 0", {}, None),
    "current": ("SELECT key, n, amount FROM records",
                {"key": "key", "on_conflict": "update", "delete_when": "n % 5 = 0"},
                "SELECT key, n, amount FROM (SELECT DISTINCT ON (key) * FROM records"
                " ORDER BY key, _offset DESC) newest WHERE n % 5 <> 0"),
}
STREAM = ("totals", "INSERT INTO totals AS t SELECT key, count(*), sum(amount) FROM records GROUP BY key"
          " ON CONFLICT (key) DO UPDATE SET records = t.records + excluded.records,"
          " amount = t.amount + excluded.amount")
ALL = (*VIEWS, "summing")


def create(db, broker, topic):
    db.topic_table("records", "n bigint, key int, amount numeric, text text, _partition int, "
                              "_offset bigint", broker, topic, consumers=1)
    db.execute(f"CREATE TABLE names AS SELECT k AS key, 'name ' || k AS name "
               f"FROM generate_series(0, {KEYS - 1}) k")
    db.execute("ALTER TABLE names ADD PRIMARY KEY (key)")
    for name, (query, options, _) in VIEWS.items():
        db.view(name, query, **options)
    db.execute("CREATE TABLE totals (key int PRIMARY KEY, records bigint, amount numeric)")
    db.execute("SELECT kafka.create_stream('summing', 'records', %s)", [STREAM[1]])


def read_log(broker, topic):
    """[(partition, offset, n, key, amount)] as an independent consumer reads them."""
    rows = []
    for m in broker.read_all(topic, isolation_level="read_committed"):
        value = json.loads(m.value())
        rows.append((m.partition(), m.offset(), value["n"], value["key"], value["amount"]))
    return rows


def load_log(db, rows):
    """Into a schema in which it has the topic's name, so that a view's query can be run over it."""
    db.execute("CREATE SCHEMA truth")
    db.execute("CREATE TABLE truth.records (_partition int, _offset bigint, n bigint, key int, amount numeric)")
    with db.connection.cursor() as cursor, \
            cursor.copy("COPY truth.records FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    db.execute("ANALYZE truth.records")


def behind(db, rows):
    """How many partitions of views have not reached the log's end."""
    ends = collections.Counter()
    for partition, offset, *_ in rows:
        ends[partition] = max(ends[partition], offset + 1)
    return db.value("""
        SELECT count(*) FROM unnest(%s::text[]) v, unnest(%s::int[], %s::bigint[]) e (partition, last)
        WHERE NOT EXISTS (SELECT FROM kafka.positions p WHERE p.view = v::regclass
                          AND p.partition = e.partition AND p.next_offset >= e.last)""",
                    [list(ALL), list(ends), list(ends.values())])


def compare(db, name):
    """(rows, lost, doubled) of one view."""
    if name == "summing":
        relation, should = "totals", "SELECT key, count(*), sum(amount) FROM records GROUP BY key"
        columns = "key, records, amount"
    else:
        query, _, other = VIEWS[name]
        relation, should = name, other or query
        # A column may have been added to the view meanwhile.
        columns = ", ".join(d.name for d in _description(db, query))
    db.execute("SET search_path = truth, public")
    there = f"SELECT {columns} FROM public.{relation}"
    found = db.row(f"SELECT (SELECT count(*) FROM public.{relation}),"
                   f" (SELECT count(*) FROM (({should}) EXCEPT ALL ({there})) l),"
                   f" (SELECT count(*) FROM (({there}) EXCEPT ALL ({should})) d)")
    db.execute("RESET search_path")
    return found


def _description(db, query):
    with db.connection.cursor() as cursor:
        cursor.execute("SET search_path = truth, public")
        cursor.execute(f"SELECT * FROM ({query}) x LIMIT 0")
        return cursor.description
