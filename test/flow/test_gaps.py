"""A topic that was made anew under its name: told from the old one, also where offsets overlap."""

import pytest

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
