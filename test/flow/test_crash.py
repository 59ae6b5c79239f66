"""Exactly once through kill -9 of a worker and of the whole server."""

import os
import signal
import threading

import psycopg
import pytest

from database import Database
from wait import wait_until

RECORDS = 30000


class Writer(threading.Thread):
    """Produces numbers 0..RECORDS-1 at some 3,000 a second, in three partitions."""

    def __init__(self, broker, topic):
        super().__init__(daemon=True)
        self.producer = broker.producer()
        self.topic = topic

    def run(self):
        for i in range(RECORDS):
            self.producer.produce(self.topic, f'{{"id": {i}}}', partition=i % 3)
            if i % 300 == 0:
                self.producer.poll(0.1)
        self.producer.flush(60)


@pytest.fixture
def running(new_cluster, kafka, new_topic):
    cluster = new_cluster()
    db = Database(cluster)
    topic = new_topic(partitions=3)
    db.topic_table("numbers", "id int, _partition int, _offset bigint", kafka, topic=topic)
    db.view("v", "SELECT id, _partition AS p, _offset AS o FROM numbers", batch_rows=500)
    db.view("w", "SELECT id FROM numbers", synchronous_commit=True)
    writer = Writer(kafka, topic)
    writer.start()
    yield db, writer
    writer.join()
    db.close()


def check(db):
    db.wait_count("v", RECORDS, timeout=120)
    db.wait_count("w", RECORDS, timeout=120)
    assert db.value("SELECT count(DISTINCT id) FROM v") == RECORDS
    assert db.value("SELECT count(DISTINCT (p, o)) FROM v") == RECORDS
    assert db.value("SELECT count(DISTINCT id) FROM w") == RECORDS
    assert db.value("SELECT sum(next_offset) FROM kafka.positions"
                    " WHERE view = 'v'::regclass") == RECORDS


def gone(db):
    """The server has noticed: it ends every session before it starts again."""
    def asked():
        try:
            db.value("SELECT 1")
            return False
        except psycopg.OperationalError:
            return True

    wait_until(asked, 60, "the session is ended")


def reconnect(db):
    def again():
        try:
            db.connection = db.connect()
            return True
        except psycopg.OperationalError:
            return False

    wait_until(again, 60, "the server answers")


def worker(db):
    """The pid of a worker; the one before may have ended a moment ago."""
    return wait_until(lambda: next(iter(db.column("SELECT pid FROM kafka.workers")), None), 60,
                      "there is a worker")


def grown(db, by):
    start = db.value("SELECT count(*) FROM v")
    wait_until(lambda: db.value("SELECT count(*) FROM v") >= min(start + by, RECORDS), 60,
               lambda: f"v grows; {db.state('v')}")


def test_kill_9_of_a_worker(running):
    db, _ = running
    for _ in range(3):
        grown(db, 1500)
        db.cluster.kill_process(worker(db))
        gone(db)
        reconnect(db)
    check(db)


def test_end_of_a_worker(running):
    """SIGTERM: the supervisor starts another one."""
    db, _ = running
    for _ in range(3):
        grown(db, 1500)
        pid = worker(db)
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not db.cluster.alive(pid), 2, "it ends")
    check(db)


def test_kill_9_of_the_server(running):
    db, _ = running
    for _ in range(2):
        grown(db, 1500)
        db.cluster.kill_server()
        db.cluster.start()
        reconnect(db)
    check(db)
