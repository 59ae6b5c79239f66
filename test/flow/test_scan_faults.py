"""Scans that are cancelled, fail, or find nobody: at once, with clear words, and nothing left behind."""

import os
import threading
import time

import psycopg
import pytest

from wait import wait_until

COLUMNS = "n bigint, s text, _partition int, _offset bigint"
# Of a busy machine; the aim is 100 ms.
AT_ONCE = 0.5


def usage(pid):
    """(threads, descriptors) of a process."""
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture
def table(bare_db, own_kafka, new_topic, produce):
    """On a broker that the test may freeze or kill; 20,000 records, connect_timeout 3 s."""
    topic = new_topic(2, broker=own_kafka)
    produce(topic, [{"n": n, "s": "x" * 100} for n in range(20000)], broker=own_kafka)
    bare_db.topic_table("t", COLUMNS, own_kafka, topic, server_options={"connect_timeout": "3s"})
    assert bare_db.value("SELECT count(*) FROM t") == 20000
    return topic


def settled(pid, before, what):
    """What a scan leaves to threads that end by themselves may take a moment."""
    wait_until(lambda: all(a <= b for a, b in zip(usage(pid), before)), 10,
               lambda: f"{what}: {usage(pid)}, before {before}")


def cancelled(db, statement, after=0.3):
    """Runs the statement, cancels it; how long it took to give in."""
    c = db.connect()
    moment = []

    def cancel():
        moment.append(time.monotonic())
        c.cancel()

    timer = threading.Timer(after, cancel)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        c.execute(statement)
    return time.monotonic() - moment[0]


SLOW = "SELECT count(*) FROM t a, t b, t c"


def test_interrupts_with_the_broker_alive(bare_db, table):
    assert cancelled(bare_db, SLOW) < AT_ONCE
    bare_db.execute("SET statement_timeout = 300")
    begin = time.monotonic()
    assert bare_db.error(SLOW).sqlstate == "57014"
    assert time.monotonic() - begin < 0.3 + AT_ONCE


@pytest.mark.parametrize("state", ["frozen", "gone"])
def test_interrupts_without_a_broker(bare_db, own_kafka, table, state):
    pid = bare_db.connection.info.backend_pid
    before = usage(pid)
    with getattr(own_kafka, state)():
        assert cancelled(bare_db, "SELECT * FROM t") < AT_ONCE
        bare_db.execute("SET statement_timeout = 300")
        begin = time.monotonic()
        assert bare_db.error("SELECT * FROM t").sqlstate == "57014"
        assert time.monotonic() - begin < 0.3 + AT_ONCE
        bare_db.execute("SET statement_timeout = 0")
        begin = time.monotonic()
        e = bare_db.error("SELECT * FROM t")
        assert e.sqlstate == "HV00N" and own_kafka.bootstrap in str(e) and e.diag.message_hint
        assert 2.5 < time.monotonic() - begin < 5
        begin = time.monotonic()
        bare_db.execute("EXPLAIN SELECT * FROM t")
        assert time.monotonic() - begin < 1
    settled(pid, before, state)
    assert bare_db.value("SELECT count(*) FROM t") == 20000


def test_broker_freezes_beside_an_open_cursor(bare_db, own_kafka, table):
    c = bare_db.connect(autocommit=False)
    pid = c.info.backend_pid
    assert c.execute("SELECT count(*) FROM t").fetchone() == (20000,)
    before = usage(pid)
    c.execute("DECLARE x CURSOR FOR SELECT a.n FROM t a WHERE _offset >= 0")
    assert len(c.execute("FETCH 5 FROM x").fetchall()) == 5
    with own_kafka.frozen():
        c.execute("SAVEPOINT s")
        c.execute("SET LOCAL statement_timeout = 300")
        begin = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("DECLARE y CURSOR FOR SELECT n FROM t")
        assert time.monotonic() - begin < 0.3 + AT_ONCE
        c.execute("ROLLBACK TO s")
        c.rollback()
        settled(pid, before, "rolled back")


@pytest.fixture
def large(bare_db, own_kafka, new_topic, produce):
    """More than lanes and client read ahead: 75 MB; connect_timeout 3 s."""
    topic = new_topic(broker=own_kafka)
    produce(topic, ['{"n": %d, "s": "%s"}' % (n, "x" * 480) for n in range(150000)],
            broker=own_kafka)
    bare_db.topic_table("t", COLUMNS, own_kafka, topic, server_options={"connect_timeout": "3s"})
    return topic


def test_broker_freezes_in_the_middle_of_a_read(bare_db, own_kafka, large):
    for cancelled_after in (1, None):
        c = bare_db.connect(autocommit=False)
        pid = c.info.backend_pid
        before = usage(pid)
        c.execute("DECLARE x CURSOR FOR SELECT n, s FROM t")
        assert len(c.execute("FETCH 5 FROM x").fetchall()) == 5
        with own_kafka.frozen():
            begin = time.monotonic()
            if cancelled_after:
                threading.Timer(cancelled_after, c.cancel).start()
            with pytest.raises(psycopg.Error) as raised:
                c.execute("FETCH ALL FROM x")
            took = time.monotonic() - begin
            if cancelled_after:
                assert raised.value.sqlstate == "57014" and took < cancelled_after + AT_ONCE
            else:
                assert raised.value.sqlstate == "HV00N" and 2.5 < took < 6
            c.rollback()
        wait_until(lambda: usage(pid)[0] <= before[0], 10, lambda: f"{usage(pid)}, {before}")


def test_retention_between_the_ends_and_the_read(bare_db, own_kafka, large):
    c = bare_db.connect(autocommit=False)
    c.execute("DECLARE x CURSOR FOR SELECT _offset FROM t")
    own_kafka.delete_records(large, 0, 60000)
    offsets = [o for (o,) in c.execute("FETCH ALL FROM x").fetchall()]
    assert offsets == list(range(60000, 150000))
    c.rollback()


def test_a_log_cut_below_the_end(bare_db, own_kafka, new_topic, produce):
    """Made anew in the middle of a scan, with fewer records: an error, and not for ever."""
    topic = new_topic(broker=own_kafka)
    produce(topic, [{"n": n} for n in range(100)], broker=own_kafka)
    bare_db.topic_table("t", COLUMNS, own_kafka, topic, server_options={"connect_timeout": "2s"})
    c = bare_db.connect(autocommit=False)
    c.execute("DECLARE x CURSOR FOR SELECT n FROM t")
    own_kafka.delete_topic(topic)
    wait_until(lambda: topic not in own_kafka.admin().list_topics(timeout=10).topics, 20, "it is gone")
    new_topic(broker=own_kafka, name=topic)
    produce(topic, [{"n": n} for n in range(3)], broker=own_kafka)
    c.execute("SET LOCAL statement_timeout = '30s'")
    with pytest.raises(psycopg.Error) as raised:
        c.execute("FETCH ALL FROM x")
    assert raised.value.sqlstate == "HV000" and topic in str(raised.value), str(raised.value)
    c.rollback()


def test_a_tail_of_aborted_transactions(bare_db, own_kafka, new_topic, produce):
    """What is aborted behind the scan's end, without a pause, must not keep it from ending."""
    topic = new_topic(broker=own_kafka)
    produce(topic, [{"n": 1}], broker=own_kafka)
    produce(topic, [{"n": n} for n in range(50)], broker=own_kafka, transactional_id=topic, abort=True)
    bare_db.topic_table("t", COLUMNS, own_kafka, topic, server_options={"connect_timeout": "2s"})
    stop = threading.Event()

    def abort(i):
        producer = own_kafka.producer(transactional_id=f"{topic}-{i}", linger_ms=0)
        producer.init_transactions(30)
        while not stop.is_set():
            producer.begin_transaction()
            producer.produce(topic, b'{"n": 7}')
            producer.flush(10)
            producer.abort_transaction(10)

    writers = [threading.Thread(target=abort, args=[i]) for i in range(12)]
    for w in writers:
        w.start()
    try:
        wait_until(lambda: bare_db.value("SELECT last_stable FROM kafka.partitions('t')") > 300, 60,
                   "they are at it")
        bare_db.execute("SET statement_timeout = '20s'")
        for _ in range(5):
            assert bare_db.value("SELECT count(*) FROM t") == 1
    finally:
        stop.set()
        for w in writers:
            w.join()


def test_open_cursors_leave_with_their_savepoint(bare_db, own_kafka, table):
    c = bare_db.connect(autocommit=False)
    pid = c.info.backend_pid
    assert c.execute("SELECT count(*) FROM t").fetchone() == (20000,)
    before = usage(pid)
    c.execute("SAVEPOINT s")
    for name in "xyz":
        c.execute(f"DECLARE {name} CURSOR FOR SELECT n FROM t")
        assert len(c.execute(f"FETCH 3 FROM {name}").fetchall()) == 3
    assert usage(pid)[0] > before[0]
    c.execute("ROLLBACK TO s")
    settled(pid, before, "savepoint")
    c.execute("DECLARE x CURSOR FOR SELECT n FROM t")
    c.execute("FETCH 3 FROM x")
    c.execute("CLOSE x")
    settled(pid, before, "closed")
    c.execute("DECLARE x CURSOR FOR SELECT n FROM t")
    c.execute("FETCH 3 FROM x")
    with pytest.raises(psycopg.errors.DivisionByZero):
        c.execute("SELECT 1 / 0 FROM t")
    c.rollback()
    settled(pid, before, "failed")


def test_errors_leave_nothing(bare_db, own_kafka, table):
    pid = bare_db.connection.info.backend_pid
    before = usage(pid)
    for i in range(30):
        assert bare_db.error("SELECT 1 / (n - 777) FROM t").sqlstate == "22012"
        assert bare_db.error("SELECT (s || 'x')::int FROM t WHERE _offset > 100").sqlstate == "22P02"
        bare_db.execute("SELECT n FROM t LIMIT 1")
    settled(pid, before, "errors")


def test_backend_ends_in_the_middle(bare_db, own_kafka, table):
    c = bare_db.connect()
    pid = c.info.backend_pid
    c.execute("BEGIN; DECLARE x CURSOR FOR SELECT n FROM t; FETCH 1 FROM x")
    with own_kafka.frozen():
        bare_db.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 3, "the backend has ended")
    assert bare_db.value("SELECT 1") == 1


def test_a_leader_that_is_being_chosen_is_waited_for(bare_db, mock, produce):
    """A broker that was fenced off for a moment leaves its partitions without a leader."""
    topic = mock.create_topic("chosen", 1)
    produce(topic, [{"n": n} for n in range(10)], broker=mock)
    bare_db.topic_table("t", "n bigint", mock, topic, server_options={"connect_timeout": "3s"})
    mock.command("leader", topic, 0, -1)
    error = bare_db.error("SELECT count(*) FROM t")
    assert error.sqlstate == "HV00N" and "eader" in (error.diag.message_detail or ""), error
    again = threading.Timer(1, mock.command, ["leader", topic, 0, 1])
    again.start()
    assert bare_db.value("SELECT count(*) FROM t") == 10
    again.join()
