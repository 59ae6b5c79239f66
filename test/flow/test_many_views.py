"""Views that each want the records of one value: a record is looked up once, for all of them together. Each
must hold what its own query gives over all records.
"""

import random
import re

from test_short_way import COLUMNS, PARTITIONS, SEED, records

def together(db, queries, **options):
    """Views made at rest and let go at once, so that they share each batch; to their ends."""
    for name, query in queries.items():
        db.view(name, query, paused=True, **options)
    db.execute("SELECT " + ", ".join(f"kafka.resume('{name}')" for name in queries))
    for name in queries:
        db.wait(name)


def with_references(queries):
    """Beside each view one whose filter means the same and is asked about every record."""
    return queries | {f"{name}_alone": re.sub(r"WHERE (.*?)( GROUP BY.*)?$", r"WHERE (\1) IS TRUE\2", query)
                      for name, query in queries.items()}


def check(db, queries):
    """Rows in all."""
    found = 0
    for name in queries:
        assert db.rows(f"(TABLE {name} EXCEPT ALL TABLE {name}_alone) UNION ALL "
                       f"(TABLE {name}_alone EXCEPT ALL TABLE {name})") == [], name
        found += db.value(f"SELECT count(*) FROM {name}")
    return found


def test_without_columns_of_the_payload_records_are_rows(db, kafka, topic, produce):
    """Whoever reads the payload beside them, and however many documents it holds."""
    db.topic_table("stream", "n int, _offset bigint", kafka, topic=topic)
    produce(topic, ['{"n": 1}', '{"n": 2}{"n": 3}', '[]', '[{"n": 4}, {"n": 5}, {"n": 6}]', '{"n": 7}'])
    together(db, {"a": "SELECT n FROM stream", "b": "SELECT count(*) AS n FROM stream",
                  "c": "SELECT _offset AS o FROM stream", "d": "SELECT _offset AS o, n FROM stream"})
    assert [db.value(f"SELECT count(*) FROM {v}") for v in "acd"] == [7, 5, 7]
    assert db.value("SELECT n FROM b") == db.value("SELECT count(*) FROM stream") == 5
    produce(topic, ['{"n": 8}', '[]'])
    db.wait_count("c", 7)
    db.wait_count("a", 8)
    db.wait("b")
    assert db.value("SELECT n FROM b") == 7


def test_each_has_what_its_filter_wants(db, kafka, new_topic, produce):
    topic = new_topic(partitions=PARTITIONS)
    db.topic_table("stream", COLUMNS, kafka, topic=topic)
    produce(topic, list(records(random.Random(SEED), 4000)))
    # All read the same columns: a record that is refused for one of them is refused for all.
    rows = "SELECT n, i2, i4, f8, num, t, iv, nothing, _partition, _offset FROM stream"
    groups = ("SELECT t, count(*) AS count, sum(i4) AS sum, min(i2) AS i2, max(f8) AS f8, max(num) AS num, max(iv) AS iv,"
              " max(nothing) AS nothing FROM stream WHERE n % 7 = 3 GROUP BY t")
    queries = {f"seven{i}": f"{rows} WHERE n % 7 = {i}" for i in range(7)}
    queries |= {f"eight{i}": f"{rows} WHERE n % 7 = {i}" for i in range(3)}  # the same constants again
    queries |= {f"half{i + 1}": f"{rows} WHERE i4 % 2::smallint = {i} AND f8 > 0 AND t LIKE '%a%'" for i in (-1, 0, 1)}
    queries |= {f"listed{i}": f"{rows} WHERE n % 100 IN ({i}, {i + 1}, NULL, {i})" for i in range(0, 100, 40)}
    queries |= {f"number{i}": f"{rows} WHERE num = {value}" for i, value in enumerate(("0", "0.00", "-0", "'NaN'"))}
    queries |= {f"text{i}": f"{rows} WHERE t = '{value}'" for i, value in enumerate(("", "a", "b"))}
    # Its values come out of the type's input function only.
    queries |= {f"interval{i}": f"{rows} WHERE iv = '{value}'" for i, value in enumerate(("1 day", "24 hours"))}
    queries |= {f"never{i}": f"{rows} WHERE nothing = {value}" for i, value in enumerate(("''", "NULL"))}
    # Ranges: side by side, within each other, empty, turned round, of one side, of several types.
    queries |= {f"between{i}": f"{rows} WHERE n % 100 BETWEEN {i} AND {i + 19}" for i in range(0, 100, 20)}
    queries |= {f"within{i}": f"{rows} WHERE n % 100 > {i} AND {100 - i} >= n % 100" for i in range(0, 80, 15)}
    queries |= {f"behind{i}": f"{rows} WHERE f8 > {value}" for i, value in enumerate(("0", "-1e9", "'-inf'", "'inf'", "'nan'"))}
    queries |= {f"before{i}": f"{rows} WHERE {value} > num AND t <> ''" for i, value in enumerate(("0", "1.5", "'NaN'"))}
    queries |= {f"letters{i}": f"{rows} WHERE t >= '{a}' AND t < '{b}'" for i, (a, b) in enumerate(("am", "mz", "AZ", "b\u00e9"))}
    queries |= {f"c_letters{i}": f'{rows} WHERE t COLLATE "C" >= \'{a}\'' for i, a in enumerate("aZm")}
    queries |= {f"wide{i}": f"{rows} WHERE i2 < {value}::bigint" for i, value in enumerate((-5, 0, 70000))}
    queries |= {f"spans{i}": f"{rows} WHERE iv <= '{value}'" for i, value in enumerate(("1 day", "24 hours", "-1 month"))}
    queries |= {f"lists{i}": f"{rows} WHERE ARRAY[i4, i2::int] > '{value}'::int[]" for i, value in enumerate(("{0}", "{0,0}", "{5,NULL}"))}
    queries["grouped"] = groups
    all_of_them = with_references(queries)
    together(db, all_of_them, on_error="skip")
    assert check(db, queries) > 4000
    assert db.value("SELECT count(*) FROM kafka.views WHERE state <> 'running'") == 0
    produce(topic, list(records(random.Random(SEED + 1), 300)))
    for name in all_of_them:
        db.wait(name)
    assert check(db, queries) > 4300


def test_several_rows_a_record(db, kafka, topic, produce):
    db.topic_table("stream", "kind text, n int", kafka, topic=topic)
    produce(topic, [{"record": {"value": str([{"kind": k, "n": n} for k in kinds]).replace("'", '"')}}
                    for n, kinds in enumerate(["a", "ab", "ba", "aab", "c", ""] * 5)])
    queries = {k: f"SELECT kind, n FROM stream WHERE kind = '{k}'" for k in "abcdefghi"}
    together(db, with_references(queries))
    assert check(db, queries) == 45


def test_an_expression_that_fails(db, kafka, topic, produce):
    """What one view's other filter keeps away from it, and what is another's bad record."""
    db.topic_table("stream", "n int", kafka, topic=topic)
    produce(topic, [{"n": n} for n in range(50)])
    guarded = {f"guarded{i}": f"SELECT n FROM stream WHERE n <> 0 AND 100 / n = {i}" for i in (2, 4)}
    bare = {f"bare{i}": f"SELECT n FROM stream WHERE 100 / n = {i}" for i in (2, 4)}
    together(db, guarded | bare)
    for name in guarded | bare:
        rows = {2: list(range(34, 50)), 4: list(range(21, 26))}[int(name[-1])]
        assert db.column(f"SELECT n FROM {name} ORDER BY n") == rows
        bad = db.rows(f"SELECT record_offset IS NOT NULL, sqlstate FROM kafka.dead_letters WHERE view = '{name}'::regclass")
        assert bad == ([] if name in guarded else [(True, "22012")])


def test_scans_without_the_filter_see_all(db, kafka, topic, produce):
    """A stream's statements, and a function that looks at the batch itself."""
    db.topic_table("stream", "kind text, n int", kafka, topic=topic)
    db.execute("CREATE TABLE seen (kind text, of_batch bigint, bodies bigint)")
    db.execute("CREATE FUNCTION rows_of_batch() RETURNS bigint STABLE LANGUAGE plpgsql SET search_path = public AS "
               "'BEGIN RETURN (SELECT count(kind) + count(n) FROM stream); END'")
    for kind in "ab":
        db.execute(f"SELECT kafka.create_stream('s_{kind}', 'stream', $$"
                   f"INSERT INTO seen SELECT kind, rows_of_batch(), (SELECT count(*) FROM stream) FROM stream "
                   f"WHERE kind = '{kind}'$$, '{{\"paused\": true}}')")
    produce(topic, [{"kind": k, "n": 1} for k in "aabbbc"])
    db.execute("SELECT kafka.resume(r.view) FROM kafka.registry r")
    db.wait_count("seen", 5)
    assert db.rows("SELECT kind, count(*), sum(of_batch) / count(*) - 2 * (sum(bodies) / count(*)) FROM seen "
                   "GROUP BY 1 ORDER BY 1") == [("a", 2, 0), ("b", 3, 0)]
    assert db.value("SELECT max(bodies) FROM seen") > 3  # not the filter's rows alone


def test_a_view_whose_code_moves_views_stops_alone(db, kafka, topic, produce):
    db.topic_table("stream", "n int", kafka, topic=topic)
    for name, act in {"seeks": "PERFORM kafka.seek('public.seeks', 'earliest')", "drops": "DROP MATERIALIZED VIEW public.drops",
                      "renews": "REFRESH MATERIALIZED VIEW public.good"}.items():
        db.execute(f"CREATE FUNCTION f_{name}(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN {act}; RETURN $1; END $$")
    together(db, {"good": "SELECT n FROM stream"} | {v: f"SELECT public.f_{v}(n) AS n FROM stream"
                                                     for v in ("seeks", "drops", "renews")})
    produce(topic, [{"n": n} for n in range(10)])
    db.wait_count("good", 10)
    for name in ("seeks", "drops", "renews"):
        assert "cannot make, change or move" in " ".join(map(str, db.wait_state(name, "stopped")))
    produce(topic, [{"n": n} for n in range(10)])
    db.wait_count("good", 20)
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 0
