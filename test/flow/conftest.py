"""Fixtures of the flow tests: brokers, servers, fresh topics and databases.

A test gets a database and topics of its own on the session's shared server and broker. What stops,
freezes or kills a broker takes own_kafka; what kills the server or needs other settings takes
new_cluster. After each test the server's log is looked at, so that a crash is laid at its door.
"""

import os
import sys
import uuid

import psycopg
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import broker as brokers  # noqa: E402
import cluster as clusters  # noqa: E402
from database import Database  # noqa: E402
from wait import wait_until  # noqa: E402, F401  (tests take it from here)


@pytest.fixture(scope="session")
def kafka():
    """The session's real Kafka: nobody stops this one."""
    with brokers.Kafka() as b:
        yield b


@pytest.fixture(scope="session")
def _second_kafka():
    with brokers.Kafka() as b:
        yield b


@pytest.fixture
def own_kafka(_second_kafka):
    """A real Kafka that the test may stop(), kill(), freeze(); with frozen(): and with gone():."""
    if not _second_kafka.running:
        _second_kafka.start()
    yield _second_kafka
    _second_kafka.thaw()


@pytest.fixture
def mock():
    """A mock broker of the test's own, with faults on command."""
    with brokers.Mock() as b:
        yield b


@pytest.fixture(scope="session")
def _cluster():
    with clusters.Cluster(preload=True) as c:
        yield c


@pytest.fixture(scope="session")
def _bare_cluster():
    with clusters.Cluster(preload=False) as c:
        yield c


def _watched(c):
    if not c.running:
        c.start()
    yield c
    c.check_log()
    if not c.running:
        c.start()


@pytest.fixture
def cluster(_cluster):
    """The session's server, extension preloaded."""
    yield from _watched(_cluster)


@pytest.fixture
def bare_cluster(_bare_cluster):
    """The session's other server: the extension is installed and not preloaded."""
    yield from _watched(_bare_cluster)


@pytest.fixture
def new_cluster():
    """Makes servers of the test's own: new_cluster(preload=True, max_worker_processes=4, ...)."""
    made = []

    def make(preload=True, faults=False, **settings):
        c = clusters.Cluster(preload=preload, settings=settings, faults=faults)
        made.append(c)
        return c.start()

    yield make
    try:
        for c in made:
            c.check_log()
    finally:
        for c in made:
            c.close()


@pytest.fixture
def db(cluster):
    """A fresh database with the extension on the preloaded server."""
    with Database(cluster) as d:
        yield d


@pytest.fixture
def bare_db(bare_cluster):
    """The same on the server without preload."""
    with Database(bare_cluster) as d:
        yield d


@pytest.fixture
def new_topic(kafka):
    """Makes topics with fresh names on the shared Kafka: new_topic(partitions=1, **config).

    On another broker: new_topic(broker=own_kafka). Configuration names have _ for .
    """
    def make(partitions=1, broker=None, name=None, **config):
        topic = name or f"t-{uuid.uuid4().hex[:12]}"
        return (broker or kafka).create_topic(
            topic, partitions, {k.replace("_", "."): str(v) for k, v in config.items()})

    return make


@pytest.fixture
def topic(new_topic):
    """One fresh topic with one partition on the shared Kafka."""
    return new_topic()


@pytest.fixture
def produce(kafka):
    """produce(topic, records, broker=None): see records.produce. Returns [(partition, offset)]."""
    from records import produce as send

    def make(topic, values, broker=None, **more):
        return send(broker or kafka, topic, values, **more)

    return make


def pytest_collection_modifyitems(items):
    """Slow ones last, so that a plain mistake is seen early."""
    items.sort(key=lambda i: i.get_closest_marker("slow") is not None)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than half a minute")


__all__ = ["psycopg", "wait_until"]
