"""Positions: seek, gaps, another topic under the same name, the Kafka group."""

import confluent_kafka
import pytest

from wait import wait_until

COLUMNS = "id int, _offset bigint"


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    return topic


def ids(first, last):
    return [{"id": i} for i in range(first, last)]


def test_seek_back_and_forth_beside_another_view(db, clicks, produce):
    db.view("a", "SELECT id FROM clicks")
    db.view("b", "SELECT id FROM clicks")
    produce(clicks, ids(0, 100))
    db.wait_count("a", 100)
    db.wait_count("b", 100)
    db.execute("SELECT kafka.seek('a', '0:50')")
    db.wait_count("a", 150)
    db.execute("SELECT kafka.seek('a', 'earliest')")
    db.wait_count("a", 250)
    produce(clicks, ids(100, 110))
    db.wait_count("a", 260)
    db.wait_count("b", 110)


def test_seek_leaves_partitions_that_a_map_does_not_name(db, kafka, new_topic, produce):
    topic = new_topic(partitions=3)
    db.topic_table("clicks", "id int, _partition int", kafka, topic=topic)
    db.view("v", "SELECT id, _partition AS p FROM clicks")
    for p in range(3):
        produce(topic, ids(0, 10), partition=p)
    db.wait_count("v", 30)
    other = db.connect(autocommit=False)
    for to, known in (("1:4", True), ("earliest", False)):  # which cluster it is that the positions left are of
        other.execute("SELECT kafka.seek('v', %s)", [to])
        assert other.execute("SELECT cluster_id IS NOT NULL FROM kafka.registry").fetchone() == (known,)
        other.rollback()
    db.execute("SELECT kafka.seek('v', '1:4')")
    db.wait_count("v", 36)
    for p in range(3):
        produce(topic, ids(10, 12), partition=p)
    db.wait_count("v", 42)
    assert dict(db.rows("SELECT p, count(*) FROM v GROUP BY p")) == {0: 12, 1: 18, 2: 12}


def test_seek_rolls_back(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    other = db.connect(autocommit=False)
    other.execute("SELECT kafka.seek('v', 'earliest')")
    produce(clicks, ids(10, 20))
    other.rollback()
    db.wait_count("v", 20)


def test_rows_and_positions_agree_in_every_snapshot(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", batch_rows=7)
    produce(clicks, ids(0, 5000))
    seen = 0
    while seen < 5000:
        rows, position = db.row("SELECT (SELECT count(*) FROM v),"
                                " coalesce((SELECT next_offset FROM kafka.positions), 0)")
        assert rows == position
        seen = rows


def make_gap(db, kafka, clicks, produce, on_gap):
    db.view("v", "SELECT id FROM clicks", on_gap=on_gap)
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    db.execute("SELECT kafka.pause('v')")
    produce(clicks, ids(10, 30))
    kafka.delete_records(clicks, 0, 20)
    db.execute("SELECT kafka.resume('v')")


def test_gap_stops(db, kafka, clicks, produce):
    make_gap(db, kafka, clicks, produce, "stop")
    _, reason, _ = db.wait_state("v", "stopped")
    assert "gap" in reason and clicks in reason
    assert db.rows("SELECT first_missing, last_missing, records, crossed FROM kafka.gaps") == [
        (10, 19, 10, False)]
    assert db.value("SELECT count(*) FROM v") == 10
    db.execute("SELECT kafka.seek('v', 'earliest')")
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 20)


def test_gap_crossed_to_the_earliest(db, kafka, clicks, produce):
    make_gap(db, kafka, clicks, produce, "earliest")
    db.wait_count("v", 20)
    assert db.rows("SELECT first_missing, last_missing, crossed FROM kafka.gaps") == [(10, 19, True)]


def test_gap_crossed_to_the_latest(db, kafka, clicks, produce):
    make_gap(db, kafka, clicks, produce, "latest")
    wait_until(lambda: db.rows("SELECT 1 FROM kafka.gaps"), 30, "the gap is a row")
    produce(clicks, ids(30, 31))
    db.wait_count("v", 11)
    assert db.rows("SELECT first_missing, last_missing, crossed FROM kafka.gaps") == [(10, 29, True)]


def test_records_deleted_below_a_running_view(db, kafka, clicks, produce):
    """No gap: what is deleted has been read."""
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    kafka.delete_records(clicks, 0, 10)
    produce(clicks, ids(10, 12))
    db.wait_count("v", 12)
    assert db.rows("SELECT 1 FROM kafka.gaps") == []


def test_topic_made_anew(db, kafka, clicks, produce, new_topic):
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    db.execute("SELECT kafka.pause('v')")
    kafka.delete_topic(clicks)
    wait_until(lambda: clicks not in kafka.admin().list_topics(timeout=10).topics, 20, "it is gone")
    new_topic(name=clicks)
    produce(clicks, ids(0, 3))
    db.execute("SELECT kafka.resume('v')")
    assert "gap" in db.wait_state("v", "stopped")[1]


def test_mirrored_to_the_group(db, kafka, clicks, produce):
    db.view("v", "SELECT id FROM clicks", group_id=f"g-{clicks}")
    produce(clicks, ids(0, 10))
    db.wait_count("v", 10)
    at = confluent_kafka.TopicPartition(clicks, 0)

    def committed():
        consumer = kafka.consumer(group_id=f"g-{clicks}")
        try:
            return consumer.committed([at], timeout=10)[0].offset == 10
        finally:
            consumer.close()

    wait_until(committed, 20, "the group's offset is 10", interval=0.5)


def test_rows_of_positions_are_not_looked_for(db, kafka, topic, produce):
    """Dead versions that nobody may remove (somebody holds a snapshot) cost nothing: no batch walks them."""
    db.topic_table("t", "n int", kafka, topic=topic)
    db.view("v", "SELECT n FROM t", batch_rows=1, flush_interval="1ms")
    produce(topic, [{"n": n} for n in range(20)])
    db.wait_count("v", 20)

    def scans():
        db.execute("SELECT pg_stat_clear_snapshot()")
        return db.row("SELECT n_tup_upd, seq_scan + idx_scan FROM pg_stat_all_tables"
                      " WHERE relid = 'kafka.progress'::regclass")

    wait_until(lambda: scans()[0] >= 20, 30, "the first batches are counted")
    updates, before = scans()
    produce(topic, [{"n": n} for n in range(500)])
    db.wait_count("v", 520)
    wait_until(lambda: scans()[0] >= updates + 500, 30, lambda: str(scans()))
    assert scans()[1] - before < 250  # kafka.lag's and ours; two for each batch would be 1,000
