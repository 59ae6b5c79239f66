"""Launcher, supervisors and workers: who runs, what they cost, how they come back, how they go."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from database import Database
from wait import let_pass, wait_until

OURS = "SELECT backend_type, datname, pid FROM pg_stat_activity WHERE backend_type LIKE 'kafka_engine%'"


def processes(cluster, kind=None, database=None):
    """pids of our processes."""
    with cluster.connect("postgres") as c:
        found = c.execute(OURS).fetchall()
    return [pid for k, d, pid in found
            if kind in (None, k.removeprefix("kafka_engine ")) and database in (None, d)]


def nobody_in(cluster, database, timeout=20):
    wait_until(lambda: not processes(cluster, database=database), timeout,
               lambda: f"no process in {database}: {processes(cluster, database=database)}")


def feed(db, kafka, produce, topic, name="v", columns="n int", **options):
    db.topic_table(f"{name}_t", columns, kafka, topic=topic)
    db.view(name, f"SELECT * FROM {name}_t", **options)


def test_named_idle_and_gone(db, cluster, kafka, topic, produce):
    """One worker, named; no transaction held, next to no CPU; all leave with the last view."""
    produce(topic, [{"n": i} for i in range(10)])
    feed(db, kafka, produce, topic)
    db.wait("v")
    assert len(processes(cluster, "worker", db.name)) == 1
    (supervisor,) = processes(cluster, "supervisor", db.name)
    (worker,) = processes(cluster, "worker", db.name)
    row = db.row("SELECT pid, topics, partitions, rows FROM kafka.workers")
    assert row == (worker, 1, 1, 10)

    def cpu(pid):
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu(supervisor), cpu(worker)
    let_pass(5)
    assert cpu(supervisor) - before[0] < 0.25 and cpu(worker) - before[1] < 0.5
    assert db.rows("SELECT backend_xmin FROM pg_stat_activity WHERE pid = ANY(%s)"
                   " AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)",
                   [[supervisor, worker]]) == []
    db.execute("DROP MATERIALIZED VIEW v")
    nobody_in_others = lambda: not processes(cluster, database=db.name)  # noqa: E731
    wait_until(nobody_in_others, 20, "supervisor and worker have left")


def test_rolled_back_starts_nobody(db, cluster, kafka, topic, produce):
    db.topic_table("t", "n int", kafka, topic=topic)
    with db.connect(autocommit=False) as c:
        c.execute("CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM t")
        c.rollback()
    let_pass(1)
    assert not processes(cluster, database=db.name)


def test_prepared_transaction_starts_at_its_commit(new_cluster, kafka, topic, produce):
    cluster = new_cluster(max_prepared_transactions=2)
    with Database(cluster) as db:
        produce(topic, [{"n": 1}])
        db.topic_table("t", "n int", kafka, topic=topic)
        db.execute("BEGIN")
        db.execute("CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM t")
        try:
            db.execute("PREPARE TRANSACTION 'p'")
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("the server does not prepare such a transaction")
        let_pass(0.5)
        assert not processes(cluster, database=db.name)
        db.execute("COMMIT PREPARED 'p'")
        db.wait_count("v", 1)


def test_commit_to_first_row(db, kafka, new_topic, produce):
    """COMMIT starts the worker at once: the machinery before the first fetch takes milliseconds."""
    topics = [new_topic() for _ in range(3)]
    for t in topics:
        produce(t, [{"n": 1}])
    feed(db, kafka, produce, topics[0], "v0")
    db.wait_count("v0", 1)
    took = []
    for i, t in enumerate(topics[1:], 1):
        db.topic_table(f"t{i}", "n int", kafka, topic=t)
        began = time.monotonic()
        db.view(f"v{i}", f"SELECT * FROM t{i}")
        wait_until(lambda: db.value(f"SELECT count(*) FROM v{i}") == 1, 20, "the row is there")
        took.append(time.monotonic() - began)
    assert min(took) < 2, took


def test_quiet_topics_share_one_worker(new_cluster, kafka, new_topic, produce):
    """200 quiet topics cost one worker and share transactions."""
    cluster = new_cluster(max_worker_processes=32)
    with Database(cluster) as db:
        n = 200
        topics = [new_topic() for _ in range(n)]
        with db.connect(autocommit=False) as c:
            server = db.server(kafka)
            for i, t in enumerate(topics):
                c.execute(f"CREATE FOREIGN TABLE t{i} (n int) SERVER {server}"
                          f" OPTIONS (topic '{t}', format 'json')")
                c.execute(f"CREATE MATERIALIZED VIEW v{i} WITH (kafka.continuous) AS SELECT * FROM t{i}")
            c.commit()
        every = " UNION ALL ".join(f"SELECT n FROM v{i}" for i in range(n))
        for round_number in range(2):
            for t in topics:
                produce(t, [{"n": round_number}])
            wait_until(lambda: db.value(f"SELECT count(*) FROM ({every}) x") == n * (round_number + 1),
                       120, "one row in each view")
        (worker,) = processes(cluster, "worker", db.name)
        threads = len(os.listdir(f"/proc/{worker}/task"))
        assert threads < 40, threads
        assert db.value("SELECT topics FROM kafka.workers") == n


def test_consumers_spread(db, cluster, kafka, new_topic, produce):
    """`consumers` gives the partitions of one topic to several workers, ALTER takes them back."""
    t = new_topic(partitions=6)
    for p in range(6):
        produce(t, [{"n": i} for i in range(100)], partition=p)
    db.topic_table("t", "n int", kafka, topic=t, consumers=3)
    db.view("v", "SELECT * FROM t")
    db.wait_count("v", 600)
    wait_until(lambda: db.value("SELECT workers FROM kafka.views") == 3, 20, "three workers")
    db.execute("ALTER FOREIGN TABLE t OPTIONS (SET consumers '1')")
    wait_until(lambda: len(processes(cluster, "worker", db.name)) == 1, 30, "one worker")
    for p in range(6):
        produce(t, [{"n": i} for i in range(100)], partition=p)
    db.wait_count("v", 1200)
    assert db.rows("SELECT DISTINCT count(*) FROM v GROUP BY n") == [(12,)]


def test_no_slot_waits_and_says_so(new_cluster, kafka, topic, produce):
    """Too few background workers: the view says what to raise, and goes on once there is one."""
    produce(topic, [{"n": 1}])
    # Taken: the server's logical replication launcher, our launcher, the supervisor.
    cluster = new_cluster(max_worker_processes=3)
    with Database(cluster) as db:
        feed(db, kafka, produce, topic)
        state, reason, _ = db.wait_state("v", "waiting")
        assert "max_worker_processes" in reason
        assert "raise max_worker_processes" in cluster.log_text().lower()
        cluster.configure(max_worker_processes=4)
        db.connection.close()
        cluster.restart()
        db.connection = db.connect()
        db.wait_count("v", 1)


def test_fewer_workers_serve_all(new_cluster, kafka, new_topic, produce):
    cluster = new_cluster(max_worker_processes=4)
    with Database(cluster) as db:
        t = new_topic(partitions=4)
        for p in range(4):
            produce(t, [{"n": 1}], partition=p)
        db.topic_table("t", "n int", kafka, topic=t, consumers=4)
        db.view("v", "SELECT * FROM t")
        db.wait_count("v", 4)
        assert len(processes(cluster, "worker", db.name)) == 1


def test_worker_terminated_comes_back(db, cluster, kafka, topic, produce):
    produce(topic, [{"n": i} for i in range(10)])
    feed(db, kafka, produce, topic)
    db.wait("v")
    for kind in ("worker", "supervisor", "launcher"):
        (old,) = processes(cluster, kind, db.name if kind != "launcher" else None)
        db.execute("SELECT pg_terminate_backend(%s)", [old])
        wait_until(lambda: [p for p in processes(cluster, kind, db.name if kind != "launcher" else None)
                            if p != old], 30, f"a new {kind}")
        before = db.value("SELECT count(*) FROM v")
        produce(topic, [{"n": 0}])
        db.wait_count("v", before + 1)
    assert db.value("SELECT count(*) FROM v") == 13


@pytest.mark.parametrize("kind", ["worker", "supervisor", "launcher"])
def test_killed_all_comes_back(new_cluster, kafka, topic, produce, kind):
    """kill -9 makes the server start all its processes anew; everything returns by itself."""
    cluster = new_cluster()
    with Database(cluster, keep=True) as db:
        produce(topic, [{"n": i} for i in range(10)])
        feed(db, kafka, produce, topic)
        db.wait("v")
        (old,) = processes(cluster, kind)
        cluster.kill_process(old)

        def ended():
            try:
                db.value("SELECT 1")
                return False
            except psycopg.OperationalError:
                return True

        def back():
            try:
                db.connection = db.connect()
                return True
            except psycopg.OperationalError:
                return False

        wait_until(ended, 30, "the server has noticed and ends its sessions")
        wait_until(back, 30, "the server is back")
        produce(topic, [{"n": i} for i in range(10)])
        db.wait_count("v", 20)


@pytest.mark.parametrize("state", ["alive", "frozen", "gone"])
def test_drop_database(cluster, own_kafka, new_topic, produce, state):
    """Without FORCE, within a second, whatever the broker does."""
    t = new_topic(broker=own_kafka)
    produce(t, [{"n": 1}], broker=own_kafka)
    db = Database(cluster)
    try:
        feed(db, own_kafka, produce, t)
        db.wait_count("v", 1)
        db.connection.close()
        if state == "frozen":
            own_kafka.freeze()
        elif state == "gone":
            own_kafka.kill()
        with cluster.connect("postgres") as c:
            began = time.monotonic()
            c.execute(f"DROP DATABASE {db.name}")
            took = time.monotonic() - began
        assert took < 2, took
        assert not processes(cluster, database=db.name)
    finally:
        own_kafka.thaw()
        db.close()


def test_database_commands_that_fail_or_move(cluster, kafka, topic, produce):
    produce(topic, [{"n": 1}])
    db = Database(cluster)
    renamed = db.name + "_r"
    try:
        feed(db, kafka, produce, topic)
        db.wait_count("v", 1)
        # The session here is in the way: the command fails, the worker comes back.
        with cluster.connect("postgres") as c:
            with pytest.raises(psycopg.errors.ObjectInUse):
                c.execute(f"DROP DATABASE {db.name}")
        produce(topic, [{"n": 2}])
        db.wait_count("v", 2)
        db.connection.close()
        with cluster.connect("postgres") as c:
            c.execute(f"ALTER DATABASE {db.name} RENAME TO {renamed}")
        db.name = renamed
        db.connection = db.connect()
        produce(topic, [{"n": 3}])
        db.wait_count("v", 3)
    finally:
        db.close()


def test_copy_of_a_database_is_paused(cluster, kafka, topic, produce):
    produce(topic, [{"n": 1}])
    db = Database(cluster)
    copy = None
    try:
        feed(db, kafka, produce, topic)
        db.wait_count("v", 1)
        db.connection.close()
        with cluster.connect("postgres") as c:
            c.execute(f"CREATE DATABASE {db.name}_c TEMPLATE {db.name}")
        copy = Database(cluster, name=db.name + "_c", create=False)
        copy._keep = False
        state, reason, _ = copy.wait_state("v", "paused")
        assert reason == "restored"
        db.connection = db.connect()
        produce(topic, [{"n": 2}])
        db.wait_count("v", 2)
        assert copy.value("SELECT count(*) FROM v") == 1
    finally:
        db.close()
        if copy:
            copy.close()


def test_gives_way(db, kafka, topic, produce):
    """Who waits for a lock that a batch holds gets it soon; the batch is applied again after."""
    db.execute("CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql AS"
               " $$BEGIN PERFORM pg_sleep(0.05); RETURN $1; END$$")
    db.topic_table("t", "n int", kafka, topic=topic)
    db.view("v", "SELECT slow(n) AS n FROM t")
    produce(topic, [{"n": i} for i in range(60)])  # three seconds of a batch
    wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE relation = 'v'::regclass"
                                " AND mode = 'RowExclusiveLock' AND granted"), 20, "a batch is open")
    began = time.monotonic()
    db.execute("ALTER TABLE v ADD COLUMN more int")
    assert time.monotonic() - began < 1
    db.wait_count("v", 60)


def test_lag_of_paused_and_dead(db, own_kafka, new_topic, produce):
    """kafka.lag never waits for a broker and goes on counting for paused views."""
    t = new_topic(broker=own_kafka)
    produce(t, [{"n": i} for i in range(10)], broker=own_kafka)
    feed(db, own_kafka, produce, t)
    db.wait("v")
    db.execute("SELECT kafka.pause('v')")
    produce(t, [{"n": i} for i in range(5)], broker=own_kafka)
    wait_until(lambda: db.value("SELECT sum(records_behind) FROM kafka.lag") == 5, 20, "5 behind")
    with own_kafka.frozen():
        began = time.monotonic()
        assert db.value("SELECT sum(records_behind) FROM kafka.lag") == 5
        assert time.monotonic() - began < 0.5
    wait_until(lambda: db.value("SELECT bool_and(as_of > now() - interval '5 s') FROM kafka.lag"), 30,
               "ends are fresh again")


def test_control_records_leave_no_lag(db, kafka, new_topic, produce):
    t = new_topic()
    produce(t, [{"n": i} for i in range(3)], transactional_id="x-" + t)
    feed(db, kafka, produce, t)
    db.wait("v")
    db.wait_count("v", 3)
    wait_until(lambda: db.row("SELECT sum(records_behind), sum(end_offset) FROM kafka.lag") == (0, 4), 20,
               "end beyond the marker, nothing behind")


def test_wait(db, kafka, topic, produce):
    placed = produce(topic, [{"n": i} for i in range(1000)])
    feed(db, kafka, produce, topic)
    db.wait("v")
    assert db.value("SELECT count(*) FROM v") == 1000
    partition, offset = placed[-1]
    assert db.value("SELECT kafka.wait('v', %s, %s, %s, '10 s')", [topic, partition, offset])
    assert not db.value("SELECT kafka.wait('v', %s, %s, %s, '300 ms')", [topic, partition, offset + 1])
    with db.connect() as waiting:
        waiting.execute("SET statement_timeout = '300ms'")
        e = db.error("SELECT kafka.wait('v', %s, %s, %s)", [topic, partition, offset + 1], waiting)
        assert e.sqlstate == "57014"
    e = db.error("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT kafka.wait('v')")
    assert e.sqlstate == "25001"
    db.execute("ROLLBACK")
    db.execute("SELECT kafka.pause('v')")
    assert db.error("SELECT kafka.wait('v')").sqlstate == "55000"
    # A seek makes what shared memory says void at once.
    db.execute(f"SELECT kafka.seek('v', '{partition}:0')")
    db.execute("SELECT kafka.resume('v')")
    db.wait("v")
    assert db.value("SELECT count(*) FROM v") == 2000


def test_wait_for_a_topic_that_is_not_there(db, kafka, topic, produce):
    """It has no end that could be reached; where it comes in time, its records are waited for."""
    later = topic + "-later"
    db.topic_table("clicks", "n int", kafka, f"{topic}, {later}")
    db.view("v", "SELECT n FROM clicks")
    produce(topic, [{"n": 1}])
    db.wait_count("v", 1)
    assert db.value("SELECT kafka.wait('v', '1500 ms')") is False
    with db.connect() as waiting:
        waiting.execute("SET statement_timeout = '300ms'")
        assert db.error("SELECT kafka.wait('v')", None, waiting).sqlstate == "57014"
        waiting.execute("RESET statement_timeout")
        with ThreadPoolExecutor() as pool:
            waits = pool.submit(lambda: waiting.execute("SELECT kafka.wait('v', '1 minute'), clock_timestamp()").fetchone())
            wait_until(lambda: db.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT kafka.wait%minute%'"
                                        " AND state = 'active'"), 10, "it waits")
            kafka.create_topic(later, 1, {})
            produce(later, [{"n": n} for n in range(100)])
            assert waits.result()[0] is True
        db.wait("v")
    assert db.value("SELECT count(*) FROM v") == 101


def test_texts_are_for_owners(db, kafka, topic, produce):
    produce(topic, [b"no json"])
    feed(db, kafka, produce, topic, on_error="stop")
    _, reason, error = db.wait_state("v", "stopped")
    assert reason
    with db.role() as other:
        db.execute(f"SET ROLE {other}")
        assert db.row("SELECT state, reason, error FROM kafka.views") == ("stopped", None, None)
        assert db.value("SELECT count(reason) FROM kafka.history") == 0
        assert db.value("SELECT count(*) FROM kafka.lag") >= 1
        db.execute("RESET ROLE")


def test_librdkafka_speaks_in_the_log(db, kafka, topic, produce):
    produce(topic, [{"n": 1}])
    db.topic_table("t", "n int", kafka, topic=topic, server_options={"debug": "topic"})
    db.view("v", "SELECT * FROM t")
    db.wait_count("v", 1)
    wait_until(lambda: "LOG:  librdkafka: " in db.cluster.log_text(), 20, "its lines are logged")


def test_standby_has_no_workers(new_cluster, kafka, topic, produce, tmp_path):
    """A hot standby shows the rows and runs nobody; after promotion its workers go on."""
    pytest.importorskip("psycopg")
    first = new_cluster(wal_level="replica", max_wal_senders=4, hot_standby="on")
    with Database(first) as db:
        produce(topic, [{"n": i} for i in range(10)])
        feed(db, kafka, produce, topic)
        db.wait("v")
        second = new_cluster(hot_standby="on")
        second.become_copy_of(first, "standby.signal", primary_conninfo=first.conninfo())
        second.start()
        standby = Database(second, name=db.name, create=False)
        standby.wait_count("v", 10)
        let_pass(1)
        assert not processes(second)
        assert standby.state("v")[0] == "waiting"
        db.execute("SELECT kafka.pause('v')")  # two clusters must not share what follows
        standby.wait_state("v", "paused")
        standby.value("SELECT pg_promote()")
        standby.execute("SELECT kafka.resume('v')")
        produce(topic, [{"n": i} for i in range(10)])
        standby.wait_count("v", 20)
        standby.close()
