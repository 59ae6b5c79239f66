"""A scan shared by the processes of a parallel query: the same rows as one process reads, each record once."""

import pytest

PARTITIONS, EACH = 8, 600
EAGER = ("parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0")


@pytest.fixture
def records(db, kafka, new_topic, produce):
    topic = new_topic(partitions=PARTITIONS)
    db.topic_table("records", "n int, t text, _partition int, _offset bigint", kafka, topic=topic)
    produce(topic, [{"record": {"value": f'{{"n": {n}, "t": "{n % 7}"}}', "partition": n % PARTITIONS}}
                    for n in range(PARTITIONS * EACH)])
    for setting in EAGER:
        db.execute(f"SET {setting}")
    return topic


def plan_of(db, query, options="COSTS OFF"):
    return "\n".join(db.column(f"EXPLAIN ({options}) {query}"))


def both(db, query):
    """What one process finds and what three find, which must be the same."""
    db.execute("SET max_parallel_workers_per_gather = 0")
    alone = db.rows(query)
    db.execute("SET max_parallel_workers_per_gather = 2")
    assert "Parallel Foreign Scan" in plan_of(db, query)
    assert db.rows(query) == alone
    return alone


def test_the_same_rows(db, records):
    everything = "count(*), sum(n), count(DISTINCT (_partition, _offset))"
    assert both(db, f"SELECT {everything} FROM records") == [(4800, 4800 * 4799 // 2, 4800)]
    ((count, *_),) = both(db, "SELECT count(*), min(n), max(n) FROM records WHERE _partition IN (1, 3, 5) AND _offset > 99")
    assert count == 1500
    assert both(db, "SELECT t, count(*) FROM records WHERE n % 2 = 0 GROUP BY t ORDER BY t")[0] == ("0", 343)
    # Offsets here and there: several ranges of one partition.
    assert both(db, "SELECT count(*) FROM records WHERE _offset IN (0, 599) OR (_partition < 3 AND _offset = 300)") == [(19,)]
    assert both(db, "SELECT count(*), sum(a.n) FROM records a JOIN records b USING (_partition, _offset)") == [
        (4800, 4800 * 4799 // 2)]


def test_conditions_known_late(db, records):
    db.execute("CREATE TABLE limits (p int); INSERT INTO limits VALUES (1), (5)")
    assert both(db, "SELECT count(*) FROM records WHERE _partition < (SELECT max(p) FROM limits)") == [(3000,)]
    assert both(db, "SELECT count(*) FROM records WHERE _partition = ANY (ARRAY(SELECT p FROM limits))") == [(1200,)]


def test_again_and_again(db, records):
    """A shared scan begins anew for each row of an outer one."""
    db.execute("SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
    query = ("SELECT x, c FROM (VALUES (1), (2), (4799), (4800)) v (x) LEFT JOIN"
             " (SELECT count(*) AS c FROM records WHERE _offset >= 0) r ON r.c > x ORDER BY x")
    assert both(db, query) == [(1, 4800), (2, 4800), (4799, 4800), (4800, None)]
    assert "loops=4" in plan_of(db, query, "ANALYZE, TIMING OFF, COSTS OFF")


def test_explain_counts_all_processes(db, records):
    db.execute("SET max_parallel_workers_per_gather = 2")
    plan = plan_of(db, "SELECT count(*) FROM records WHERE _partition > 1", "ANALYZE, TIMING OFF, COSTS OFF")
    assert "Workers Launched: 2" in plan and "Records Read: 3600" in plan and plan.count(":0-599") == 6


def test_a_limit_and_a_cursor_stop_early(db, records):
    db.execute("SET max_parallel_workers_per_gather = 2; SET debug_parallel_query = regress"
               if db.connection.info.server_version >= 160000 else "SET max_parallel_workers_per_gather = 2")
    assert len(db.rows("SELECT n FROM records WHERE n % 3 = 0 LIMIT 5")) == 5
    with db.connection.transaction():
        db.execute("DECLARE c CURSOR FOR SELECT n FROM records WHERE t <> '8'")
        assert len(db.rows("FETCH 10 FROM c")) == 10
    assert db.value("SELECT count(*) FROM records") == 4800


def test_a_bad_record_is_named(db, records, produce):
    produce(records, [{"record": {"value": '{"n": "x"}', "partition": 6}}])
    db.execute("SET max_parallel_workers_per_gather = 2")
    assert "Parallel Foreign Scan" in plan_of(db, "SELECT sum(n) FROM records")
    e = db.error("SELECT sum(n) FROM records")
    assert e.sqlstate == "22P02" and "offset 600" in f"{e.diag.message_primary} {e.diag.message_detail} {e.diag.context}"
    assert both(db, "SELECT count(*) FROM records") == [(4801,)]


def test_not_with_errors_as_rows(db, kafka, records):
    """Values of such a table are judged in subtransactions, which parallel queries cannot have."""
    db.topic_table("judged", "n int, _error text", kafka, topic=records)
    db.execute("SET max_parallel_workers_per_gather = 2")
    assert "Parallel" not in plan_of(db, "SELECT count(n) FROM judged")
    assert db.value("SELECT count(n) FROM judged") == 4800


def test_a_batch_is_read_by_its_own_process(db, kafka, records, produce):
    """A function's statement, planned for several processes outside, is run inside a batch."""
    db.execute("SET max_parallel_workers_per_gather = 2")
    db.execute("CREATE FUNCTION how_many() RETURNS bigint LANGUAGE plpgsql SET search_path = public AS"
               " 'BEGIN RETURN (SELECT count(n) FROM records); END'")
    assert db.value("SELECT how_many()") == 4800
    db.execute("CREATE TABLE target (n int CHECK (n <> 7), many bigint)")
    db.view("v", "SELECT n, how_many() AS many FROM records", into="target")
    db.wait("v")
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 1
    db.execute("ALTER TABLE target DROP CONSTRAINT target_n_check")
    assert db.row("SELECT retried, stored, kept FROM kafka.retry('v')") == (1, 1, 0)
    assert db.row("SELECT count(*), min(many) FROM target WHERE n = 7") == (1, 1)
