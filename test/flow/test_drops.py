"""Taking things away while workers serve them: under a second, whatever the broker does."""

import time

import pytest

from wait import wait_until

COLUMNS = "id int, name text"
LEFT = ("SELECT (SELECT count(*) FROM kafka.registry), (SELECT count(*) FROM kafka.progress),"
        " (SELECT count(*) FROM pg_class WHERE relnamespace = 'kafka'::regnamespace"
        " AND relname ~ '^q_')")


def numbered(first, last):
    return [{"id": i, "name": f"n{i}"} for i in range(first, last)]


@pytest.fixture(params=["alive", "frozen", "gone"])
def fed(request, db, own_kafka, new_topic, produce):
    """A view v that has 10 rows and a worker; then the broker is as the parameter says."""
    topic = new_topic(broker=own_kafka)
    db.topic_table("clicks", COLUMNS, own_kafka, topic=topic)
    produce(topic, numbered(0, 10), broker=own_kafka)
    db.view("v", "SELECT id FROM clicks")
    db.wait_count("v", 10)
    if request.param == "frozen":
        own_kafka.freeze()
    elif request.param == "gone":
        own_kafka.kill()
    yield db
    own_kafka.thaw()


def in_a_second(db, *statements):
    began = time.monotonic()
    for statement in statements:
        db.execute(statement)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("how", ["DROP MATERIALIZED VIEW v", "DROP TABLE v",
                                 "DROP FOREIGN TABLE clicks CASCADE", "DROP SERVER broker CASCADE"])
def test_a_view(fed, how):
    in_a_second(fed, how)
    assert fed.rows(LEFT) == [(0, 0, 0)]
    wait_until(lambda: not fed.rows("SELECT 1 FROM kafka.workers"), 30, "the worker has nothing to do")


def test_made_again_at_once(db, cluster, kafka, topic, produce):
    """A commit that comes while supervisor or worker are leaving is not missed by them."""
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    produce(topic, numbered(0, 10))
    before = len(cluster.log_text())
    for _ in range(80):
        db.view("v", "SELECT id FROM clicks")
        db.wait_count("v", 10)
        db.execute("DROP MATERIALIZED VIEW v")
    assert "FATAL" not in cluster.log_text()[before:]


def test_the_extension(fed):
    in_a_second(fed, "DROP EXTENSION kafka_engine CASCADE")
    assert fed.value("SELECT to_regnamespace('kafka')") is None
    wait_until(lambda: not fed.rows("SELECT 1 FROM pg_stat_activity WHERE backend_type LIKE 'kafka%'"
                                    " AND datname = current_database()"), 30, "workers have left")


def test_the_extension_rolled_back(db, kafka, topic, produce):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    db.view("v", "SELECT id FROM clicks")
    db.execute("BEGIN")
    db.execute("DROP EXTENSION kafka_engine CASCADE")
    db.execute("ROLLBACK")
    produce(topic, numbered(0, 10))
    db.wait_count("v", 10)


def test_what_a_role_owns(db, kafka, topic, produce):
    with db.role() as role:
        db.execute(f"GRANT ALL ON SCHEMA public TO {role}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER {db.server(kafka)} TO {role}")
        db.execute(f"SET ROLE {role}")
        db.topic_table("clicks", COLUMNS, kafka, topic=topic)
        db.view("v", "SELECT id FROM clicks")
        produce(topic, numbered(0, 10))
        db.wait_count("v", 10)
        in_a_second(db, f"DROP OWNED BY {role}")
        db.execute("RESET ROLE")
        assert db.rows(LEFT) == [(0, 0, 0)]
