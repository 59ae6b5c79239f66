"""SELECT on a topic: what it sees, where it ends, which columns and records it judges."""

import threading

import pytest

from wait import wait_until

COLUMNS = ("n bigint, s text, _topic text, _partition int, _offset bigint, _timestamp timestamptz, "
           "_key text, _tombstone boolean")


def numbered(values, partition=None, **more):
    return [{"record": dict(value='{"n": %d, "s": "s%d"}' % (n, n), partition=partition, **more)}
            for n in values]


@pytest.fixture
def clicks(bare_db, kafka, new_topic, produce):
    """A table on a topic of three partitions with 30 records each; n is 100 * partition + offset."""
    topic = new_topic(3)
    for p in range(3):
        produce(topic, numbered(range(100 * p, 100 * p + 30), p))
    bare_db.topic_table("clicks", COLUMNS, kafka, topic)
    return topic


# ------------------------------------------------------------------------------ what it sees


def test_every_record_once(bare_db, clicks):
    rows = bare_db.execute("SELECT n, s, _topic, _partition, _offset FROM clicks")
    assert sorted(rows) == [(100 * p + o, f"s{100 * p + o}", clicks, p, o)
                            for p in range(3) for o in range(30)]
    assert bare_db.value("SELECT count(*) FROM clicks") == 90
    assert bare_db.execute("SELECT n FROM clicks WHERE _partition = 1") == \
        [(100 + o,) for o in range(30)]  # in order


def test_empty_topic(bare_db, kafka, topic):
    bare_db.topic_table("t", COLUMNS, kafka, topic)
    assert bare_db.execute("SELECT * FROM t") == []
    assert bare_db.value("SELECT count(*) FROM t") == 0


def test_ranges(bare_db, clicks):
    def places(where):
        return sorted(bare_db.execute(f"SELECT _partition, _offset FROM clicks WHERE {where}"))

    assert places("_partition = 2 AND _offset BETWEEN 5 AND 7") == [(2, 5), (2, 6), (2, 7)]
    assert places("_offset IN (0, 29) AND _partition <> 1") == [(0, 0), (0, 29), (2, 0), (2, 29)]
    assert places("(_partition = 0 AND _offset < 1) OR (_partition = 1 AND _offset >= 29)") == \
        [(0, 0), (1, 29)]
    assert places("_partition = 1 OR n = 3") == [(0, 3)] + [(1, o) for o in range(30)]
    assert places("_offset >= 30") == places("_partition = 17") == places("_offset < 0") == []


def test_partitions_option(bare_db, kafka, clicks):
    bare_db.topic_table("some_of_it", COLUMNS, kafka, clicks, partitions="0,2-9")
    assert bare_db.column("SELECT DISTINCT _partition FROM some_of_it ORDER BY 1") == [0, 2]
    assert bare_db.value("SELECT count(*) FROM some_of_it WHERE _partition = 1") == 0


def test_list_and_pattern_of_topics(bare_db, kafka, new_topic, produce):
    a, b = sorted([new_topic(), new_topic()])
    produce(a, numbered([1, 2]))
    produce(b, numbered([3]))
    bare_db.topic_table("list", COLUMNS, kafka, f"{a}, {b}")
    bare_db.topic_table("pattern", COLUMNS, kafka, topic_pattern=f"{a}|{b}")
    bare_db.topic_table("nothing", COLUMNS, kafka, topic_pattern="no such topic.*")
    for table in "list", "pattern":
        assert bare_db.execute(f"SELECT _topic, n FROM {table} ORDER BY 1, 2") == \
            [(a, 1), (a, 2), (b, 3)]
        assert bare_db.column(f"SELECT n FROM {table} WHERE _topic = %s", [b]) == [3]
        assert sorted(bare_db.column(f"SELECT n FROM {table} WHERE _topic < %s", [b])) == [1, 2]
    assert bare_db.execute("SELECT * FROM nothing") == []


def test_missing_topic_names_near_ones(bare_db, kafka, new_topic):
    topic = new_topic()
    bare_db.topic_table("t", COLUMNS, kafka, topic + "x")
    e = bare_db.error("SELECT * FROM t")
    assert e.sqlstate == "HV00R" and f'"{topic}x" does not exist' in str(e)
    assert topic in e.diag.message_hint


def test_ends_are_taken_once_per_statement(bare_db, kafka, topic, produce):
    bare_db.topic_table("t", COLUMNS, kafka, topic)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            produce(topic, numbered(range(20)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            a, b, c = bare_db.row("""
                WITH c AS MATERIALIZED (SELECT count(*) AS n FROM t)
                SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM t x JOIN t y
                        USING (_partition, _offset)), c.n FROM c""")
            assert a == b == c
    finally:
        stop.set()
        writer.join()


def test_cursor_sees_what_was_there_when_declared(bare_db, clicks, produce):
    c = bare_db.connect(autocommit=False)
    c.execute("DECLARE x CURSOR FOR SELECT n FROM clicks WHERE _partition = 0")
    produce(clicks, numbered(range(500, 600), 0))
    assert len(c.execute("FETCH 10 FROM x").fetchall()) == 10
    assert len(c.execute("FETCH ALL FROM x").fetchall()) == 20
    c.rollback()
    assert bare_db.value("SELECT count(*) FROM clicks WHERE _partition = 0") == 130


# ------------------------------------------------------------------------------ where it ends


def test_transactions(bare_db, kafka, new_topic, produce):
    topic = new_topic()
    bare_db.topic_table("t", COLUMNS, kafka, topic)
    produce(topic, numbered([1]))
    produce(topic, numbered([2, 3]), transactional_id=topic)
    produce(topic, numbered([4, 5]), transactional_id=topic, abort=True)  # ends in a marker
    assert bare_db.column("SELECT n FROM t") == [1, 2, 3]
    produce(topic, numbered(range(1000)), transactional_id=topic, abort=True)
    assert bare_db.column("SELECT n FROM t WHERE _offset > 0") == [2, 3]
    assert bare_db.column("SELECT n FROM t WHERE _offset BETWEEN 3 AND 7") == []
    produce(topic, numbered([6]))
    assert bare_db.column("SELECT n FROM t") == [1, 2, 3, 6]


def test_nothing_beyond_an_open_transaction(bare_db, kafka, topic, produce):
    bare_db.topic_table("t", COLUMNS, kafka, topic)
    produce(topic, numbered([1]))
    producer = kafka.producer(transactional_id=topic)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b'{"n": 2}')
    producer.flush(30)
    produce(topic, numbered([3]))
    assert bare_db.column("SELECT n FROM t") == [1]
    producer.commit_transaction(30)
    wait_until(lambda: bare_db.column("SELECT n FROM t") == [1, 2, 3])


def test_compaction_leaves_gaps(bare_db, kafka, new_topic, produce):
    topic = new_topic(cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.001,
                      min_compaction_lag_ms=0, max_compaction_lag_ms=100)
    bare_db.topic_table("t", COLUMNS, kafka, topic)
    for n in range(40):
        produce(topic, numbered([n], key=f"k{n % 3}"))

    def compacted():
        produce(topic, numbered([1000], key="last"))  # rolls the segment before it
        return sum(1 for _ in kafka.read_all(topic)) < 30

    wait_until(compacted, 60, "the topic is compacted", interval=0.3)

    def truth():
        return sorted(m.offset() for m in kafka.read_all(topic))

    def same():  # between two looks at the log that agree, since it may be compacted further
        before = truth()
        found = sorted(bare_db.column("SELECT _offset FROM t"))
        return before != truth() or (found == before and before)

    wait_until(lambda: truth() == truth(), 30, "the log is at rest")
    assert all(same() for _ in range(3))
    # A range that lies in the hole ends too.
    assert bare_db.value("SELECT count(*) FROM t WHERE _offset BETWEEN 2 AND 4") <= 3


def test_truncated_head(bare_db, kafka, clicks):
    kafka.delete_records(clicks, 0, 12)
    assert bare_db.column("SELECT min(_offset) FROM clicks WHERE _partition = 0") == [12]
    assert bare_db.value("SELECT count(*) FROM clicks") == 78
    assert bare_db.value("SELECT count(*) FROM clicks WHERE _offset < 12 AND _partition = 0") == 0


def test_limit_stops_early(bare_db, kafka, topic, produce):
    produce(topic, numbered(range(20000)))
    bare_db.topic_table("t", COLUMNS, kafka, topic)
    assert len(bare_db.execute("SELECT n FROM t LIMIT 5")) == 5
    plan = "\n".join(bare_db.column("EXPLAIN (ANALYZE, TIMING off) SELECT n FROM t LIMIT 5"))
    read = int(plan.split("Records Read: ")[1].split("\n")[0])
    assert read < 2000, plan


# ------------------------------------------------------------------------------ parameters


def test_rescans_ask_anew(bare_db, clicks):
    rows = bare_db.execute("""
        SELECT o, (SELECT n FROM clicks WHERE _partition = 1 AND _offset = o)
        FROM unnest(ARRAY[3, NULL, 5, 99, 3]) WITH ORDINALITY AS u(o, i) ORDER BY i""")
    assert rows == [(3, 103), (None, None), (5, 105), (99, None), (3, 103)]
    rows = bare_db.execute("""
        SELECT p, array_agg(n ORDER BY n) FROM generate_series(0, 3) p,
        LATERAL (SELECT n FROM clicks WHERE _partition = p AND _offset < p LIMIT 5) x
        GROUP BY p ORDER BY p""")
    assert rows == [(1, [100]), (2, [200, 201])]


def test_outer_rows_choose_records(bare_db, clicks):
    bare_db.execute("CREATE TABLE wanted AS SELECT 2 AS p, 7::bigint AS o UNION ALL SELECT 0, 3")
    bare_db.execute("ANALYZE wanted")
    query = "SELECT n FROM wanted LEFT JOIN clicks ON _partition = p AND _offset = o ORDER BY n"
    assert bare_db.column(query) == [3, 207]
    bare_db.execute("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off")
    assert "Pushed" in "\n".join(bare_db.column("EXPLAIN " + query))
    assert bare_db.column(query) == [3, 207]


def test_prepared_parameters(bare_db, clicks):
    bare_db.execute("SET plan_cache_mode = force_generic_plan")
    bare_db.execute("PREPARE q(int, bigint[]) AS SELECT n FROM clicks "
                    "WHERE _partition = $1 AND _offset = ANY ($2) ORDER BY n")
    assert bare_db.column("EXECUTE q(1, '{1,2,28}')") == [101, 102, 128]
    assert bare_db.column("EXECUTE q(2, '{0,NULL}')") == [200]
    assert bare_db.column("EXECUTE q(NULL, '{0}')") == bare_db.column("EXECUTE q(1, NULL)") == []
    assert bare_db.column("EXECUTE q(0, '{}')") == []


# ------------------------------------------------------------------------------ bad records


BAD = 'SELECT n FROM bad ORDER BY _offset'


@pytest.fixture
def bad(bare_db, kafka, topic, produce):
    produce(topic, ['{"n": 1, "ip": "::1"}', '{"n": "x", "ip": "::1"}', '{"n": 3, "ip": "bogus"}',
                    'no json \x01 at all', '{"n": 5, "ip": "10.0.0.1"}'])
    bare_db.topic_table("bad", "n int, ip inet, _partition int, _offset bigint", kafka, topic)
    bare_db.topic_table("told", "n int, ip inet, _offset bigint, _error text, _raw bytea", kafka,
                        topic)
    return topic


def test_bad_record_is_an_error_that_says_where(bare_db, bad):
    e = bare_db.error("SELECT n FROM bad WHERE _offset > 0")
    assert e.sqlstate == "22P02" and '"n"' in str(e)
    assert f'topic "{bad}", partition 0, offset 1' in e.diag.context
    assert '"x"' in e.diag.message_detail and "_error" in e.diag.message_hint
    e = bare_db.error("SELECT n FROM bad WHERE _offset = 3")
    assert e.sqlstate[:2] == "22" and "\\x01" in e.diag.message_detail
    # The type's own input function refuses, on the server's thread.
    e = bare_db.error("SELECT ip FROM bad WHERE _offset = 2")
    assert e.sqlstate == "22P02" and "bogus" in str(e)
    assert "offset 2" in e.diag.context and 'column "ip", value "bogus"' in e.diag.context
    assert "_error" in e.diag.message_hint


def test_only_what_is_asked_for_is_judged(bare_db, bad):
    assert bare_db.value("SELECT count(*) FROM bad") == 5
    assert bare_db.column("SELECT _offset FROM bad") == [0, 1, 2, 3, 4]
    assert bare_db.column("SELECT n FROM bad WHERE _offset <> ALL ('{1,3}')") == [1, 3, 5]
    assert bare_db.column("SELECT host(ip) FROM bad WHERE _offset NOT IN (1, 2, 3)") == \
        ["::1", "10.0.0.1"]
    # Expressions on the record's place count as well, though nothing of them is pushed.
    assert bare_db.column("SELECT n FROM bad WHERE _offset % 2 = 0") == [1, 3, 5]


def test_error_column_takes_bad_records(bare_db, bad):
    rows = bare_db.execute("SELECT _offset, n, ip::text, _error IS NOT NULL, _raw FROM told")
    assert [r[:4] for r in rows] == [
        (0, 1, "::1/128", False), (1, None, None, True), (2, None, None, True),
        (3, None, None, True), (4, 5, "10.0.0.1/32", False)]
    assert bytes(rows[2][4]) == b'{"n": 3, "ip": "bogus"}'
    # _error speaks of the whole record, whichever columns are read beside it.
    assert "bogus" in bare_db.value("SELECT _error FROM told WHERE _offset = 2")
    assert bare_db.column("SELECT _offset FROM told WHERE _error IS NULL") == [0, 4]
    assert bare_db.column("SELECT n FROM told") == [1, None, 3, None, 5]


def test_error_column_beside_a_parallel_scan(bare_db, bad):
    """The server takes no subtransactions while other parts of the query run in parallel."""
    bare_db.execute("""
        CREATE TABLE big AS SELECT generate_series(1, 20000) AS i; ANALYZE big;
        SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
        SET min_parallel_table_scan_size = 0""")
    query = "SELECT count(*), count(ip), count(_error), min(b.n) FROM told, (SELECT count(*) AS n FROM big) b"
    assert "Gather" in "\n".join(bare_db.column("EXPLAIN " + query))
    assert bare_db.row(query) == (5, 2, 3, 20000)


# ------------------------------------------------------------------------------ times


@pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime"])
def test_upper_bounds_in_time(bare_db, kafka, new_topic, produce, kind):
    topic = new_topic(message_timestamp_type=kind)
    produce(topic, numbered(range(10)))
    bare_db.topic_table("t", COLUMNS, kafka, topic)
    for where, n in [("_timestamp < now() - interval '1 hour'", 0),
                     ("_timestamp < now() - interval '1 hour' OR _offset = 3", 1),
                     ("_timestamp BETWEEN now() - interval '1 hour' AND now() + interval '9 s'", 10)]:
        assert bare_db.value(f"SELECT count(*) FROM t WHERE {where}") == n
    plan = "\n".join(bare_db.column("EXPLAIN (ANALYZE, TIMING off) SELECT n FROM t "
                                    "WHERE _timestamp < now() - interval '1 hour'"))
    # A producer's own clock says nothing about what comes after its record.
    assert ("Ranges: none" if kind == "LogAppendTime" else "/0:0-9") in plan


# ------------------------------------------------------------------------------ plans


def test_explain_analyze_and_estimates(bare_db, clicks):
    plan = "\n".join(bare_db.column(
        "EXPLAIN (ANALYZE, TIMING off) SELECT n FROM clicks WHERE _partition = 1 AND _offset < 7"))
    assert f"Ranges: {clicks}/1:0-6" in plan and "Records Read: 7" in plan and "Bytes:" in plan
    assert "rows=7 " in plan.split("\n")[0]
    bare_db.execute("ANALYZE clicks")
    assert bare_db.value("SELECT reltuples FROM pg_class WHERE relname = 'clicks'") == 90
    assert bare_db.value("SELECT n_distinct FROM pg_stats WHERE tablename = 'clicks' "
                         "AND attname = '_partition'") == 3


def test_analyze_samples_large_topics_and_skips_bad_records(bare_db, kafka, topic, produce):
    produce(topic, ["bad"] + numbered(range(4999)))
    bare_db.topic_table("t", "n int, i inet, _offset bigint", kafka, topic)
    bare_db.execute("SET default_statistics_target = 3; ANALYZE t")
    assert 4000 < bare_db.value("SELECT reltuples FROM pg_class WHERE relname = 't'") < 5001
    low, high = bare_db.row("SELECT (histogram_bounds::text::bigint[])[1], (histogram_bounds::text::"
                            "bigint[])[4] FROM pg_stats WHERE tablename = 't' AND attname = 'n'")
    assert low < 500 and high > 4500
