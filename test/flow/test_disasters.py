"""Disks that are full or broken, names that do not resolve, a standby that is promoted, a server put back to
an earlier moment: afterwards rows and positions agree with the log, each record once."""

import os

import psycopg
import pytest

from database import Database
from relay import Relay
from wait import wait_until


def numbers(first, count):
    return [{"n": n} for n in range(first, first + count)]


def all_there(db, count, view="v"):
    """Each of the numbers once, and the position behind the last."""
    db.wait_count(view, count, timeout=120)
    assert db.row(f"SELECT count(DISTINCT n), min(n), max(n) FROM {view}") == (count, 0, count - 1)
    wait_until(lambda: db.value("SELECT sum(next_offset) FROM kafka.positions WHERE view = %s::regclass",
                                [view]) == count, 30, "the position is written")
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 0


@pytest.fixture
def ill(new_cluster, kafka, topic, produce):
    """A view on a server whose disk can fail; 1,000 records are in it."""
    cluster = new_cluster(faults=True, fsync="on", checkpoint_timeout="30s", wal_recycle="off",
                          max_wal_size="64MB", min_wal_size="32MB")
    db = Database(cluster)
    db.topic_table("t", "n int, text text", kafka, topic=topic)
    db.view("v", "SELECT n, repeat('x', 500) AS text FROM t")
    produce(topic, numbers(0, 1000))
    db.wait_count("v", 1000)
    yield db
    cluster.heal()
    db.close()


def come_back(db):
    """Until the server has recovered; it may have ended, where recovery itself met the fault."""
    def back():
        if not db.cluster.running:
            db.cluster.start(wait=False)
        try:
            db.connection = db.connect()
            return True
        except psycopg.OperationalError:
            return False

    wait_until(back, 60, "the server is back")


@pytest.mark.parametrize("what, words", [("disk full", "No space left on device"),
                                         ("writes fail", "Input/output error")])
def test_data_that_cannot_be_written(ill, topic, produce, what, words):
    with ill.cluster.fault(what):
        produce(topic, numbers(1000, 5000))
        _, reason, error = ill.wait_state("v", "retrying")
        assert words in reason and ("[53100]" in error or "[58030]" in error), error
        # Commits must not be what fails: nothing is stored beyond the position.
        assert ill.value("SELECT count(*) FROM v") == ill.value("SELECT sum(next_offset) FROM kafka.positions")
    all_there(ill, 6000)
    ill.wait_state("v", "running")


@pytest.mark.parametrize("what, panic", [("WAL disk full", "No space left on device"),
                                         ("flushes fail", "could not f")])
def test_wal_that_cannot_be_written_or_flushed(ill, topic, produce, what, panic):
    """The server gives up and recovers; what it had not kept is read again."""
    ill.cluster.expect_panic(panic)
    with ill.cluster.fault(what):
        produce(topic, numbers(1000, 5000))

        def panicked():
            try:
                ill.execute("CHECKPOINT")
            except psycopg.Error:
                pass
            return "PANIC:" in ill.cluster.log_text()

        wait_until(panicked, 60, "the server gives up")
    come_back(ill)
    all_there(ill, 6000)


def test_names_that_do_not_resolve_for_a_while(new_cluster, kafka, topic, produce):
    cluster = new_cluster(faults=True)
    with Relay(kafka) as relay, Database(cluster) as db:
        produce(topic, numbers(0, 10))
        db.topic_table("t", "n int", relay, topic=topic)
        db.view("v", "SELECT n FROM t")
        db.wait_count("v", 10)
        with cluster.fault("no names"):
            produce(topic, numbers(10, 10))

            def lost():
                relay.cut()  # again and again: names are remembered for a second
                state, reason, _ = db.state("v")
                return state == "retrying" and "Failed to resolve" in reason

            wait_until(lost, 60, lambda: str(db.state("v")), interval=0.2)
        all_there(db, 20)
        db.wait_state("v", "running")


def test_a_clock_that_is_set(new_cluster, kafka, topic, produce):
    """A day forth, and two back: records, workers that start anew, kafka.wait and kafka.lag go on."""
    cluster = new_cluster(faults=True)
    with Database(cluster) as db:
        db.topic_table("t", "n int", kafka, topic=topic)
        db.view("v", "SELECT n FROM t")
        produce(topic, numbers(0, 10))
        db.wait_count("v", 10)
        for turn, what in enumerate(("clock ahead", "clock behind"), 1):
            db.execute("SELECT kafka.pause('v')")
            wait_until(lambda: db.value("SELECT sum(records_behind) FROM kafka.lag") == 0, 60, "ends are known")
            with cluster.fault(what):
                produce(topic, numbers(20 * turn, 10))
                wait_until(lambda: db.value("SELECT sum(records_behind) FROM kafka.lag") == 10, 60,
                           lambda: str(db.rows("SELECT * FROM kafka.lag")))
                db.execute("SELECT kafka.resume('v')")
                db.wait_count("v", 20 * turn)
                db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                           " WHERE backend_type LIKE 'kafka_engine worker%'")
                produce(topic, numbers(20 * turn + 10, 10))
                assert db.value("SELECT kafka.wait('v', '1 minute')")
                db.wait_count("v", 10 + 20 * turn)
                db.wait_state("v", "running")


def test_a_lagging_standby_is_promoted(new_cluster, kafka, topic, produce):
    """What the standby had not heard of is read again from its own positions."""
    first = new_cluster(wal_level="replica", max_wal_senders=4)
    with Database(first, keep=True) as db:
        db.topic_table("t", "n int", kafka, topic=topic)
        db.view("v", "SELECT n FROM t")
        db.view("sums", "SELECT n % 3 AS n, count(*) AS records FROM t GROUP BY 1")
        produce(topic, numbers(0, 1000))
        db.wait_count("v", 1000)
        db.wait("sums")
        second = new_cluster()
        second.become_copy_of(first, "standby.signal", primary_conninfo=first.conninfo())
        second.start()
        standby = Database(second, name=db.name, create=False)
        standby.wait_count("v", 1000)
        second.configure(primary_conninfo="")
        second.reload()
        wait_until(lambda: standby.value("SELECT count(*) FROM pg_stat_wal_receiver") == 0, 30, "it hears no more")
        produce(topic, numbers(1000, 1000))
        db.wait_count("v", 2000)
        first.kill_server()
        assert standby.value("SELECT count(*) FROM v") == 1000
        standby.value("SELECT pg_promote()")
        produce(topic, numbers(2000, 1000))
        all_there(standby, 3000)
        standby.wait("sums")
        assert standby.rows("SELECT n, records FROM sums ORDER BY n") == [(0, 1000), (1, 1000), (2, 1000)]
        standby.wait_state("v", "running")
        standby.close()


def test_put_back_to_before_a_batch(new_cluster, kafka, topic, produce):
    """Point-in-time recovery takes rows and positions back together; the rest is read again."""
    first = new_cluster(wal_level="replica", max_wal_senders=4, archive_mode="on", archive_command="false")
    archive = os.path.join(first.directory, "archive")
    os.mkdir(archive)
    os.chmod(archive, 0o777)  # the server's own
    first.configure(archive_command=f"cp %p {archive}/%f")
    first.reload()
    with Database(first, keep=True) as db:
        db.topic_table("t", "n int", kafka, topic=topic)
        db.view("v", "SELECT n FROM t")
        produce(topic, numbers(0, 1000))
        db.wait_count("v", 1000)
        second = new_cluster()
        second.become_copy_of(first, "recovery.signal", restore_command=f"cp {archive}/%f %p",
                              recovery_target_name="before", recovery_target_action="promote")
        produce(topic, numbers(1000, 500))
        db.wait_count("v", 1500)
        db.execute("SELECT pg_create_restore_point('before')")
        produce(topic, numbers(1500, 500))
        db.wait_count("v", 2000)
        db.execute("SELECT pg_switch_wal()")
        wait_until(lambda: db.value("SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1)"
                                    " FROM pg_stat_archiver"), 30, "the WAL is archived")
        db.execute("SELECT kafka.pause('v')")
        second.start()
        restored = Database(second, name=db.name, create=False)
        all_there(restored, 2000)
        restored.wait_state("v", "running")
        history = restored.value("SELECT count(*) FROM kafka.history WHERE state = 'paused'")
        assert history == 0  # it stood before that
        restored.close()
