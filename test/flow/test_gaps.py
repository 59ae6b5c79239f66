"""Another log under a topic's name, made anew or cut short: told from the old one, also where offsets overlap."""

import contextlib
import os
import signal

import pytest

from broker import KafkaNodes
from relay import Relay
from wait import wait_until


def ids(first, last):
    return [{"id": i} for i in range(first, last)]


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", "id int", kafka, topic=topic)
    return topic


def make_anew(kafka, new_topic, name):
    kafka.delete_topic(name)
    wait_until(lambda: name not in kafka.admin().list_topics(timeout=10).topics, 20, "it is gone")
    new_topic(name=name)


def gaps(db):
    return db.rows("SELECT partition, first_missing, crossed FROM kafka.gaps WHERE reason ~ 'made anew'")


@pytest.mark.parametrize("records", [10, 25])
def test_stop(db, kafka, clicks, produce, new_topic, records):
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    db.execute("SELECT kafka.pause('v')")
    make_anew(kafka, new_topic, clicks)
    produce(clicks, ids(100, 100 + records))
    db.execute("SELECT kafka.resume('v')")
    assert "made anew" in db.wait_state("v", "stopped")[1]
    assert db.value("SELECT max(id) FROM v") == 9
    assert gaps(db) == [(0, 10, False)]
    # Nothing but a decision helps.
    db.execute("SELECT kafka.resume('v')")
    db.wait_state("v", "stopped")
    db.execute("SELECT kafka.seek('v', 'earliest')")
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 10 + records)


@pytest.mark.parametrize("on_gap", ["earliest", "latest"])
def test_go_on(db, kafka, clicks, produce, new_topic, on_gap):
    db.view("v", "SELECT id FROM clicks", on_gap=on_gap)
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    db.execute("SELECT kafka.pause('v')")
    make_anew(kafka, new_topic, clicks)
    produce(clicks, ids(100, 125))
    db.execute("SELECT kafka.resume('v')")
    wait_until(lambda: gaps(db) == [(0, 10, True)], 60, "the gap is a row")
    produce(clicks, ids(200, 203))
    db.wait_count("v", 38 if on_gap == "earliest" else 13)


def test_the_same_topic_is_known_again(db, kafka, clicks, produce, cluster):
    """After a resume, a restart, and where the last record read is gone."""
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    db.execute("SELECT kafka.pause('v')")
    produce(clicks, ids(10, 20))
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 20)
    db.execute("SELECT kafka.pause('v')")
    produce(clicks, ids(20, 30))
    kafka.delete_records(clicks, 0, 20)
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 30)
    assert db.column("SELECT id FROM v ORDER BY 1") == list(range(30))
    assert db.rows("SELECT 1 FROM kafka.gaps") == []


def test_made_anew_while_the_connection_was_lost(db, kafka, topic, produce, new_topic):
    """Nobody tells a view that runs on: the offsets overlap, and nothing was asked in between."""
    with Relay(kafka) as relay:
        db.topic_table("clicks", "id int", relay, topic=topic)
        db.view("v", "SELECT id FROM clicks")
        produce(topic, ids(0, 10))
        db.wait_count("v", 10)
        relay.mode = "closed"
        relay.cut()
        make_anew(kafka, new_topic, topic)
        produce(topic, ids(100, 125))
        relay.mode = "pass"
        assert "made anew" in db.wait_state("v", "stopped")[1]
        assert db.value("SELECT max(id) FROM v") == 9
        assert gaps(db) == [(0, 10, False)]


def test_a_connection_that_is_made_anew_is_no_gap(db, kafka, topic, produce):
    with Relay(kafka) as relay:
        db.topic_table("clicks", "id int", relay, topic=topic)
        db.view("v", "SELECT id FROM clicks")
        for turn in range(4):
            produce(topic, ids(10 * turn, 10 * turn + 10))
            db.wait_count("v", 10 * turn + 10)
            relay.cut()
        assert db.column("SELECT id FROM v ORDER BY 1") == list(range(40))
        assert db.rows("SELECT 1 FROM kafka.gaps") == []


@contextlib.contextmanager
def stopped_worker(db):
    (pid,) = db.column("SELECT pid FROM kafka.workers")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_an_unclean_election_cuts_the_log(db, produce):
    """A broker that lacks the newest records becomes the leader, and others take their offsets: in one
    topic as many as there were, in the other fewer. A clean move of a leader is no gap."""
    with KafkaNodes(3, {"broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500}) as nodes:
        first, second, third = nodes.nodes
        topics = {"longer": 20, "shorter": 5, "clean": 20}
        for name in topics:
            unclean = {} if name == "clean" else {"unclean.leader.election.enable": "true"}
            nodes.create_topic(f"t-{name}", 1, unclean, placed=[[1, 2, 3] if name == "clean" else [1, 2]])
            db.topic_table(name, "id int", nodes, topic=f"t-{name}")
            db.view(f"v_{name}", f"SELECT id FROM {name}")
            produce(f"t-{name}", ids(0, 10), broker=nodes)
            db.wait_count(f"v_{name}", 10)
        second.kill()
        for name in topics:
            produce(f"t-{name}", ids(10, 20), broker=nodes)
            db.wait_count(f"v_{name}", 20)
        with stopped_worker(db):
            first.kill()
            second.start(wait=False)
            for name, number in topics.items():
                wait_until(lambda: nodes.leader_of(f"t-{name}", 0) not in (None, first), 60,
                           f"{name} has another leader")
                produce(f"t-{name}", ids(100, 100 + number), broker=nodes)
        assert "made anew" in db.wait_state("v_longer", "stopped")[1]
        assert "truncated" in db.wait_state("v_shorter", "stopped")[1]
        db.wait_count("v_clean", 40)
        assert db.rows("SELECT view::text, first_missing, crossed FROM kafka.gaps ORDER BY 1") == [
            ("v_longer", 20, False), ("v_shorter", 20, False)]
        for name in ("longer", "shorter"):
            assert db.value(f"SELECT max(id) FROM v_{name}") == 19
        db.execute("SELECT kafka.seek('v_longer', '0:10')")
        db.execute("SELECT kafka.resume('v_longer')")
        db.wait_count("v_longer", 40)
