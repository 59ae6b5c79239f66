"""Continuous views on a real Kafka: rows arrive, views share, locks are given way to."""

import json
import time

import pytest

from wait import let_pass, wait_until

COLUMNS = "id int, name text, _partition int, _offset bigint"


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    return topic


def numbered(first, last):
    return [{"id": i, "name": f"n{i}"} for i in range(first, last)]


def test_rows_arrive_transformed_and_joined(db, clicks, produce):
    db.execute("CREATE TABLE kinds (k int PRIMARY KEY, kind text)")
    db.execute("INSERT INTO kinds VALUES (0, 'even'), (1, 'odd')")
    produce(clicks, numbered(0, 1000))
    db.view("v", "SELECT c.id, upper(c.name) AS name, k.kind FROM clicks c JOIN kinds k"
                 " ON k.k = c.id % 2 WHERE c.id % 10 <> 7")
    db.wait("v")
    assert db.rows("SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE kind = 'odd') FROM v"
                   ) == [(900, 900, 400)]
    assert db.value("SELECT name FROM v WHERE id = 12") == "N12"
    produce(clicks, numbered(1000, 1001))
    db.wait_count("v", 901)
    assert db.state("v")[0] == "running"
    assert db.value("SELECT rows FROM kafka.views WHERE view = 'v'::regclass") == 901


def test_order_within_partitions(db, kafka, new_topic, produce):
    topic = new_topic(partitions=3)
    db.topic_table("many", COLUMNS, kafka, topic=topic)
    db.view("v", "SELECT id, _partition AS p, _offset AS o FROM many")
    db.execute("ALTER TABLE v ADD COLUMN seen bigserial")
    produce(topic, numbered(0, 5000))
    db.wait_count("v", 5000)
    assert db.value("SELECT count(*) FROM (SELECT o - lag(o) OVER (PARTITION BY p ORDER BY seen) AS d"
                    " FROM v) x WHERE d <> 1") == 0
    assert db.rows("SELECT sum(next_offset) FROM kafka.positions") == [(5000,)]


def test_a_later_view_catches_up_and_joins(db, clicks, produce):
    produce(clicks, numbered(0, 500))
    db.view("a", "SELECT id FROM clicks")
    db.wait_count("a", 500)
    db.view("b", "SELECT name FROM clicks")
    db.wait_count("b", 500)
    produce(clicks, numbered(500, 600))
    db.wait("a")
    db.wait("b")
    assert db.rows("SELECT (SELECT count(*) FROM a), (SELECT count(DISTINCT name) FROM b)") == [
        (600, 600)]
    assert len(db.rows("SELECT pid FROM kafka.workers")) == 1


def test_pause_and_resume(db, clicks, produce):
    db.view("a", "SELECT id FROM clicks")
    db.view("b", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("a", 10)
    db.execute("SELECT kafka.pause('a')")
    produce(clicks, numbered(10, 30))
    db.wait_count("b", 30)
    assert db.value("SELECT count(*) FROM a") == 10
    assert db.state("a")[0] == "paused"
    db.execute("SELECT kafka.resume('a')")
    db.wait_count("a", 30)
    produce(clicks, numbered(30, 31))
    db.wait_count("a", 31)
    db.wait_count("b", 31)


def test_latency_at_rest(db, clicks, produce, kafka):
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 1))
    db.wait_count("v", 1)
    producer = kafka.producer(linger_ms=0, acks=1)
    taken = []
    for i in range(1, 41):
        began = time.perf_counter()
        producer.produce(clicks, f'{{"id": {i}}}')
        producer.flush(10)
        while not db.value(f"SELECT count(*) FROM v WHERE id = {i}"):
            pass
        taken.append(time.perf_counter() - began)
        let_pass(0.05)
    taken.sort()
    print(f"produce to visible: p50 {taken[20] * 1000:.1f} ms, max {taken[-1] * 1000:.1f} ms")
    assert taken[20] < 0.1


def test_a_topic_that_comes_later(db, kafka, new_topic, produce):
    db.topic_table("later", COLUMNS, kafka, topic="later-" + db.name)
    db.view("v", "SELECT id FROM later")
    reason = db.wait_state("v", "retrying")[1]
    assert "later-" + db.name in reason
    topic = new_topic(name="later-" + db.name)
    produce(topic, numbered(0, 20))
    db.wait_count("v", 20)
    db.wait_state("v", "running")


def test_new_partitions_from_their_first_record(db, kafka, clicks, produce):
    db.view("v", "SELECT id, _partition AS p FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    kafka.add_partitions(clicks, 3)
    produce(clicks, numbered(10, 20), partition=2)
    db.wait_count("v", 20, timeout=30)
    assert db.rows("SELECT p, count(*) FROM v GROUP BY 1 ORDER BY 1") == [(0, 10), (2, 10)]


def test_transactions(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 5), transactional_id="t1" + db.name)
    produce(clicks, numbered(5, 10), transactional_id="t1" + db.name, abort=True)
    produce(clicks, numbered(10, 15), transactional_id="t1" + db.name)
    db.wait("v")
    assert db.column("SELECT id FROM v ORDER BY 1") == [*range(5), *range(10, 15)]
    # Behind the last record stands a marker: no lag of its own.
    assert db.value("SELECT records_behind FROM kafka.lag WHERE view = 'v'::regclass") == 0


def test_one_view_locked_the_other_goes_on(db, clicks, produce):
    db.view("a", "SELECT id FROM clicks")
    db.view("b", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("a", 10)
    db.wait_count("b", 10)
    other = db.connect(autocommit=False)
    other.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
    produce(clicks, numbered(10, 40))
    db.wait_count("b", 40, timeout=10)
    assert other.execute("SELECT count(*) FROM a").fetchone() == (10,)
    other.rollback()
    db.wait_count("a", 40)
    produce(clicks, numbered(40, 41))
    db.wait_count("a", 41)


def test_a_batch_gives_way(db, clicks, produce):
    """A long batch is given up for somebody who waits for its table, and done again."""
    db.execute("CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql AS"
               " $$ BEGIN PERFORM pg_catalog.pg_sleep(0.01); RETURN i; END $$")
    produce(clicks, numbered(0, 300))
    db.view("v", "SELECT public.slow(id) AS id FROM clicks")
    wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE relation = 'v'::regclass"
                                " AND mode = 'RowExclusiveLock'"), 20, "a batch is open")
    began = time.monotonic()
    db.execute("ALTER TABLE v ADD COLUMN note text")
    assert time.monotonic() - began < 1.5
    db.wait_count("v", 300)


def test_drop_while_records_come(db, clicks, produce):
    db.view("a", "SELECT id FROM clicks")
    db.view("b", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 20000))
    began = time.monotonic()
    db.execute("DROP MATERIALIZED VIEW a")
    assert time.monotonic() - began < 1
    db.wait_count("b", 20000)
    assert db.column("SELECT DISTINCT view::text FROM kafka.positions") == ["b"]


def test_rights_lost_and_granted(db, clicks, produce):
    with db.role() as role:
        db.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER broker TO {role}")
        db.execute(f"GRANT SELECT ON clicks TO {role}")
        db.execute(f"SET ROLE {role}")
        db.view("v", "SELECT id FROM clicks")
        db.execute("RESET ROLE")
        produce(clicks, numbered(0, 3))
        db.wait_count("v", 3)
        db.execute(f"REVOKE SELECT ON clicks FROM {role}")
        produce(clicks, numbered(3, 6))
        assert "clicks" in db.wait_state("v", "retrying")[1]
        assert db.value("SELECT count(*) FROM v") == 3
        db.execute(f"GRANT SELECT ON clicks TO {role}")
        db.wait_count("v", 6)
        db.execute(f"REVOKE USAGE ON FOREIGN SERVER broker FROM {role}")
        produce(clicks, numbered(6, 9))
        assert "foreign server" in db.wait_state("v", "retrying")[1]
        db.execute(f"GRANT USAGE ON FOREIGN SERVER broker TO {role}")
        db.wait_count("v", 9)
        db.wait_state("v", "running")


def test_changes_of_the_topic_table_are_live(db, kafka, clicks, produce):
    db.view("v", "SELECT id, name FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    db.execute("ALTER FOREIGN TABLE clicks ADD COLUMN extra int")
    db.execute("ALTER FOREIGN TABLE clicks ALTER COLUMN name OPTIONS (ADD path '$.other')")
    produce(clicks, [{"id": 10, "name": "old", "other": "new"}])
    db.wait_count("v", 11)
    assert db.value("SELECT name FROM v WHERE id = 10") == "new"


def test_functions_read_the_batch_too(db, clicks, produce):
    """Columns that only a function of the query's reads, where no plan shows them."""
    db.execute("CREATE FUNCTION peek(i int) RETURNS text LANGUAGE plpgsql AS"
               " $$ BEGIN RETURN (SELECT name FROM public.clicks WHERE id = i); END $$")
    db.view("v", "SELECT id, public.peek(id) AS name FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    assert db.value("SELECT count(*) FROM v WHERE name = 'n' || id") == 10
    db.wait_state("v", "running")


def test_now_moves(db, clicks, produce):
    db.view("v", "SELECT id, now() AS at FROM clicks")
    produce(clicks, numbered(0, 1))
    db.wait_count("v", 1)
    let_pass(0.1)
    produce(clicks, numbered(1, 2))
    db.wait_count("v", 2)
    assert db.value("SELECT max(at) - min(at) > '50 ms' FROM v")


def test_consumers_share_partitions(db, kafka, new_topic, produce):
    topic = new_topic(partitions=6)
    db.topic_table("wide", COLUMNS, kafka, topic=topic, consumers=3)
    db.view("v", "SELECT id FROM wide")
    produce(topic, numbered(0, 3000))
    db.wait_count("v", 3000)
    assert db.value("SELECT count(DISTINCT id) FROM v") == 3000


def test_broker_gone_and_back(db, own_kafka, new_topic, produce):
    topic = new_topic(broker=own_kafka)
    db.topic_table("far", COLUMNS, own_kafka, topic=topic)
    db.view("v", "SELECT id FROM far")
    produce(topic, numbered(0, 10), broker=own_kafka)
    db.wait_count("v", 10)
    with own_kafka.gone():
        db.wait_state("v", "retrying")
    produce(topic, numbered(10, 20), broker=own_kafka)
    db.wait_count("v", 20)
    db.wait_state("v", "running")


def test_broker_frozen(db, own_kafka, new_topic, produce):
    topic = new_topic(broker=own_kafka)
    db.topic_table("far", COLUMNS, own_kafka, topic=topic)
    db.view("v", "SELECT id FROM far")
    db.view("w", "SELECT id FROM far")
    produce(topic, numbered(0, 10), broker=own_kafka)
    db.wait_count("v", 10)
    pid = db.value("SELECT pid FROM kafka.workers")
    with own_kafka.frozen():
        began = time.monotonic()
        db.execute("SELECT kafka.pause('v')")
        db.execute("DROP MATERIALIZED VIEW w")  # nothing is left to do: the worker may leave by itself
        db.execute("SELECT pg_terminate_backend(%s, 2000)", [pid])
        assert time.monotonic() - began < 2
        wait_until(lambda: not db.cluster.alive(pid), 1, "the worker's process has ended")
    produce(topic, numbered(10, 20), broker=own_kafka)
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 20)


def test_topics_by_pattern_join_by_themselves(db, kafka, new_topic, produce):
    first = new_topic(name=f"p.{db.name}.1")
    db.topic_table("many", COLUMNS + ", _topic text", kafka, topic_pattern=f"p\\.{db.name}\\..*")
    db.view("v", "SELECT id, _topic AS t FROM many")
    produce(first, numbered(0, 5))
    db.wait_count("v", 5)
    second = new_topic(name=f"p.{db.name}.2")
    produce(second, numbered(5, 10))
    db.wait_count("v", 10, timeout=30)
    assert db.rows("SELECT t, count(*) FROM v GROUP BY 1 ORDER BY 1") == [(first, 5), (second, 5)]


def test_far_behind_catches_up_beside_the_live_one(db, kafka, clicks, produce):
    """More than near_records behind: a feed of its own, joined later; nothing lost, nothing twice."""
    produce(clicks, [{"id": i} for i in range(150000)])
    db.view("a", "SELECT id FROM clicks", start="latest")
    db.view("b", "SELECT id FROM clicks", batch_rows=5000)
    for i in range(20):
        produce(clicks, numbered(150000 + i * 10, 150010 + i * 10))
        let_pass(0.05)
    db.wait_count("a", 200)
    db.wait_count("b", 150200, timeout=120)
    produce(clicks, numbered(150200, 150210))
    db.wait_count("a", 210)
    db.wait_count("b", 150210)
    assert db.value("SELECT count(DISTINCT id) FROM b") == 150210


def test_fifty_views_cost_one_decode(db, clicks, produce):
    """Of every kind, with a stream among them: what is fetched and decoded is counted once."""
    sent = [{"id": i, "name": f"n{i}" * 10} for i in range(2000)]
    size = sum(len(json.dumps(r)) for r in sent)
    produce(clicks, sent)
    kinds = [("SELECT id, name FROM clicks", {}), ("SELECT id % 7 AS g, count(*) AS n FROM clicks GROUP BY 1", {}),
             ("SELECT id % 9 AS id, name FROM clicks", {"key": "id", "on_conflict": "update"})]
    db.execute("CREATE TABLE ids (id int)")
    with db.connect(autocommit=False) as c:  # at once, so that they begin together
        for n in range(49):
            query, options = kinds[n % 3]
            given = "".join(f", kafka.{k} = '{v}'" for k, v in options.items())
            c.execute(f"CREATE MATERIALIZED VIEW v{n} WITH (kafka.continuous{given}) AS {query}")
        c.execute("SELECT kafka.create_stream('s', 'clicks', 'INSERT INTO ids SELECT id FROM clicks')")
        c.commit()
    for name in [f"v{n}" for n in range(49)] + ["s"]:
        db.wait(name)
    assert db.value("SELECT count(*) FROM ids") == db.value("SELECT count(*) FROM v0") == 2000
    assert db.value("SELECT sum(n) FROM v1") == 2000
    assert size * 0.5 < db.value("SELECT sum(bytes) FROM kafka.workers") < size * 2


def test_a_new_column_of_the_topic_table(db, clicks, produce):
    """Views of every kind go on; a new one reads it; * stays what it was."""
    db.execute("CREATE TABLE ids (id int)")
    db.view("v", "SELECT * FROM clicks")
    db.view("g", "SELECT name, count(*) AS n, avg(id) AS a FROM clicks GROUP BY name")
    db.view("k", "SELECT id, name FROM clicks", key="id", on_conflict="update")
    db.execute("SELECT kafka.create_stream('s', 'clicks', 'INSERT INTO ids SELECT id FROM clicks')")
    produce(clicks, numbered(0, 10))
    db.wait("v")
    db.execute("ALTER FOREIGN TABLE clicks ADD COLUMN more int[], ADD COLUMN _timestamp timestamptz")
    db.view("w", "SELECT more[1] AS m, _timestamp > 'epoch' AS t FROM clicks")
    produce(clicks, [{"id": 10, "name": "n10", "more": [7]}, {"id": 11, "name": "n11", "more": 7}])
    for view in ("v", "g", "k", "s", "w"):
        db.wait(view)
    assert db.row("SELECT (SELECT count(*) FROM v), (SELECT sum(n) FROM g), (SELECT count(*) FROM k),"
                  " (SELECT count(*) FROM ids)") == (12, 12, 12, 12)
    assert db.rows("SELECT m, t FROM w WHERE m IS NOT NULL") == [(7, True)]
    assert db.rows("SELECT view::text, record_offset FROM kafka.dead_letters") == [("w", 11)]
    for view in ("v", "g", "k", "w"):
        db.execute(f"REFRESH MATERIALIZED VIEW {view}")
    assert db.row("SELECT (SELECT count(*) FROM v), (SELECT count(*) FROM w)") == (12, 11)
    # A column that nobody uses may go, one that is used may not.
    db.execute("ALTER FOREIGN TABLE clicks ADD COLUMN unused int")
    db.execute("ALTER FOREIGN TABLE clicks DROP COLUMN unused")
    assert db.error("ALTER FOREIGN TABLE clicks DROP COLUMN more").sqlstate == "2BP01"
    produce(clicks, numbered(12, 13))
    db.wait("v")
    assert db.value("SELECT count(*) FROM v") == 13
