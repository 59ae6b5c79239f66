"""DDL and the SQL functions of continuous views, with workers running and on a real Kafka."""

import threading
import time

import psycopg
import pytest

from wait import wait_until

COLUMNS = "id int, name text, _partition int, _offset bigint"


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    return topic


def numbered(first, last):
    return [{"id": i, "name": f"n{i}"} for i in range(first, last)]


def positions(db, view):
    return db.rows("SELECT partition, next_offset FROM kafka.positions WHERE view = %s::regclass"
                   " ORDER BY 1", [view])


# ---------------------------------------------------------------------------------- starts


def test_latest_is_resolved_at_create(db, kafka, new_topic, produce):
    topic = new_topic(partitions=2)
    sent = produce(topic, numbered(0, 20))
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    db.view("v", "SELECT id FROM clicks", start="latest", paused=True)
    ends = [(p, max((o + 1 for q, o in sent if q == p), default=0)) for p in (0, 1)]
    assert positions(db, "v") == ends
    produce(topic, numbered(20, 30))
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 10)
    assert db.row("SELECT min(id), max(id) FROM v") == (20, 29)


def test_a_time_and_one_past_the_end(db, clicks, produce):
    produce(clicks, numbered(0, 5))
    between = db.value("SELECT (clock_timestamp() + interval '20 ms')::text")
    wait_until(lambda: db.value("SELECT clock_timestamp() > %s::timestamptz + interval '20 ms'",
                                [between]), 5, "the time has passed")
    produce(clicks, numbered(5, 8))
    db.view("v", "SELECT id FROM clicks", start=between, paused=True)
    assert positions(db, "v") == [(0, 5)]
    db.view("w", "SELECT id FROM clicks", start="2100-01-01", paused=True)
    assert positions(db, "w") == [(0, 8)]


def test_group_starts_where_it_has_committed(db, clicks, produce):
    produce(clicks, numbered(0, 10))
    db.view("a", "SELECT id FROM clicks", group_id="g1")
    db.wait_count("a", 10)
    db.view("none", "SELECT id FROM clicks", start="group", group_id="nobody", paused=True)
    assert positions(db, "none") == []

    def mirrored():
        db.view("b", "SELECT id FROM clicks", start="group", group_id="g1", paused=True)
        found = positions(db, "b")
        db.execute("DROP MATERIALIZED VIEW b")
        return found == [(0, 10)]

    wait_until(mirrored, 30, lambda: "the group has the position")


def test_map_leaves_other_partitions_at_the_earliest(db, kafka, new_topic, produce):
    topic = new_topic(partitions=2)
    produce(topic, numbered(0, 6), partition=0)
    produce(topic, numbered(100, 104), partition=1)
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    db.view("v", "SELECT id FROM clicks", start="0:4")
    db.wait_count("v", 6)
    assert db.column("SELECT id FROM v ORDER BY 1") == [4, 5, 100, 101, 102, 103]


def test_no_broker(db):
    db.topic_table("clicks", COLUMNS, "127.0.0.1:1", topic="t",
                   server_options={"connect_timeout": "300ms"})
    db.view("v", "SELECT id FROM clicks")
    began = time.monotonic()
    for start in ("latest", "2026-01-01", "group"):
        e = db.error("CREATE MATERIALIZED VIEW w WITH (kafka.continuous, kafka.start = "
                     f"'{start}') AS SELECT id FROM clicks")
        assert e.sqlstate == "08001" or e.sqlstate.startswith("HV"), (e.sqlstate, str(e))
        assert "127.0.0.1:1" in str(e)
    assert time.monotonic() - began < 10
    began = time.monotonic()
    db.execute("DROP MATERIALIZED VIEW v")
    assert time.monotonic() - began < 1


# ---------------------------------------------------------------------------------- control


def test_pause_is_exact_and_rolls_back(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    db.view("witness", "SELECT id FROM clicks")  # what it has, v could have
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    other = db.connect(autocommit=False)
    other.execute("SELECT kafka.pause('v')")
    produce(clicks, numbered(10, 20))
    db.wait_count("witness", 20)
    assert db.value("SELECT count(*) FROM v") == 10  # held while the transaction is open
    other.rollback()
    db.wait_count("v", 20)
    db.execute("SELECT kafka.pause('v')")
    produce(clicks, numbered(20, 30))
    db.wait_count("witness", 30)
    assert db.value("SELECT count(*) FROM v") == 20
    assert db.state("v")[0] == "paused"
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 30)


def test_seek_and_read_again(db, clicks, produce):
    produce(clicks, numbered(0, 10))
    db.view("v", "SELECT id FROM clicks")
    db.wait_count("v", 10)
    db.execute("SELECT kafka.seek('v', '0:7')")
    db.wait_count("v", 13)
    with db.connect(autocommit=False) as c:
        c.execute("TRUNCATE v")
        c.execute("SELECT kafka.seek('v', 'earliest')")
    db.wait_count("v", 10)
    assert db.value("SELECT count(DISTINCT id) FROM v") == 10


def test_an_idle_seek_holds_up_nobody_else(db, clicks, produce):
    db.view("a", "SELECT id FROM clicks")
    db.view("b", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("a", 10)
    db.wait_count("b", 10)
    other = db.connect(autocommit=False)
    other.execute("SELECT kafka.seek('a', '0:10')")
    produce(clicks, numbered(10, 20))
    db.wait_count("b", 20)
    other.rollback()
    db.wait_count("a", 20)


# ---------------------------------------------------------------------------------- while running


def producing(produce, topic):
    """Produces until the event is set."""
    stop = threading.Event()

    def run():
        n = 0
        while not stop.is_set():
            produce(topic, numbered(n, n + 50))
            n += 50

    t = threading.Thread(target=run, daemon=True)
    t.start()
    return stop, t


def test_ddl_while_rows_come_in(db, clicks, produce):
    db.view("v", "SELECT id, name FROM clicks")
    stop, thread = producing(produce, clicks)
    try:
        wait_until(lambda: db.value("SELECT count(*) FROM v") > 100, 30, lambda: "rows come in")
        for statement in ("ALTER MATERIALIZED VIEW v RENAME COLUMN name TO label",
                          "ALTER TABLE v ADD COLUMN extra int DEFAULT 7",
                          "CREATE INDEX ON v (id)",
                          "ALTER MATERIALIZED VIEW v SET (kafka.batch_rows = 20)",
                          "ALTER MATERIALIZED VIEW v RENAME TO w",
                          "CREATE SCHEMA s", "ALTER MATERIALIZED VIEW w SET SCHEMA s"):
            began = time.monotonic()
            db.execute(statement)
            assert time.monotonic() - began < 2, statement
    finally:
        stop.set()
        thread.join()
    total = db.value("SELECT count(*) FROM clicks")
    db.wait_count("s.w", total)
    assert db.value("SELECT count(*) FROM s.w WHERE label <> 'n' || id OR extra <> 7") == 0
    assert db.value("SELECT count(DISTINCT (id)) FROM s.w") == total
    began = time.monotonic()
    db.execute("DROP SCHEMA s CASCADE")
    assert time.monotonic() - began < 1
    assert db.value("SELECT count(*) FROM kafka.registry") == 0
    assert db.value("SELECT count(*) FROM kafka.progress") == 0


def test_into_feeds_by_name(db, clicks, produce):
    db.execute("CREATE TABLE target (made timestamptz DEFAULT now(), label varchar(10), id bigint)")
    db.view("v", "SELECT id, name AS label FROM clicks", into="target")
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    assert db.rows("SELECT id, label FROM v ORDER BY id LIMIT 1") == [(0, "n0")]
    assert db.value("SELECT count(made) FROM target") == 10
    db.execute("DROP MATERIALIZED VIEW v")
    assert db.value("SELECT count(*) FROM target") == 10


def test_a_target_that_moves_is_followed(db, clicks, produce):
    """Another table under the old name gets nothing."""
    db.execute("CREATE TABLE target (id int, name text)")
    db.view("v", "SELECT id, name FROM clicks", into="target")
    produce(clicks, numbered(0, 5))
    db.wait_count("v", 5)
    with db.connect(autocommit=False) as c:
        c.execute("ALTER TABLE target RENAME TO older")
        c.execute("CREATE TABLE target (id int, name text)")
    produce(clicks, numbered(5, 10))
    db.wait_count("v", 10)
    assert db.row("SELECT (SELECT count(*) FROM older), (SELECT count(*) FROM target)") == (10, 0)
    with db.connect(autocommit=False) as c:
        c.execute("ALTER TABLE older RENAME COLUMN name TO label")
        c.execute("ALTER TABLE older ADD COLUMN name text")
    produce(clicks, numbered(10, 15))
    db.wait_count("v", 15)
    produce(clicks, ["not json"] + numbered(15, 20))
    db.wait_count("v", 20)
    assert db.value("SELECT count(name) FROM older") == 0
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 1


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_control_whatever_the_isolation(db, clicks, produce, level):
    """A transaction that keeps an old snapshot handles views by what holds now, as all DDL does."""
    db.execute("CREATE TABLE target (id int)")
    db.view("v", "SELECT id FROM clicks")
    db.view("w", "SELECT id FROM clicks", into="target")
    stop, thread = producing(produce, clicks)

    def grow(view):
        n = db.value(f"SELECT count(*) FROM {view}")
        wait_until(lambda: db.value(f"SELECT count(*) FROM {view}") > n, 30, "rows come in")

    try:
        c = db.connect(autocommit=False)
        for act in ("SELECT kafka.pause('v')", "SELECT kafka.seek('v', 'earliest')",
                    "SELECT kafka.resume('v')", "SELECT kafka.seek('w', 'earliest')",
                    "ALTER MATERIALIZED VIEW v SET (kafka.batch_rows = 100)",
                    "DROP MATERIALIZED VIEW v", "DROP MATERIALIZED VIEW w"):
            c.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            c.execute("SELECT count(*) FROM target")
            grow("w")
            c.execute(act)
            c.commit()
    finally:
        stop.set()
        thread.join()
    assert db.row("SELECT (SELECT count(*) FROM kafka.registry), (SELECT count(*) FROM kafka.progress)"
                  ) == (0, 0)


def test_owner_runs_the_query(db, clicks, produce):
    produce(clicks, numbered(0, 5))
    db.view("v", "SELECT id, current_user::text AS who FROM clicks")
    db.wait_count("v", 5)
    with db.role() as role:
        db.execute(f"GRANT SELECT ON clicks TO {role}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER {db.value('SELECT srvname FROM pg_foreign_server')}"
                   f" TO {role}")
        db.execute(f"ALTER MATERIALIZED VIEW v OWNER TO {role}")
        produce(clicks, numbered(5, 6))
        db.wait_count("v", 6)
        assert db.value("SELECT who FROM v WHERE id = 5") == role


def test_commit_prepared_wakes(new_cluster, kafka, topic, produce):
    from database import Database
    cluster = new_cluster(max_prepared_transactions=2)
    with Database(cluster) as db:
        db.topic_table("clicks", COLUMNS, kafka, topic=topic)
        produce(topic, numbered(0, 5))
        c = db.connect(autocommit=False)
        c.execute("CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT id FROM clicks")
        c.execute("PREPARE TRANSACTION 'p'")
        c.rollback()
        db.execute("COMMIT PREPARED 'p'")
        db.wait_count("v", 5, timeout=10)


def test_without_preload(bare_db):
    bare_db.topic_table("clicks", COLUMNS, "127.0.0.1:1", topic="t")
    fresh = bare_db.connect()
    for _ in range(2):
        e = bare_db.error("CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS"
                          " SELECT id FROM clicks", connection=fresh)
        assert e.sqlstate == "55000"
        assert "shared_preload_libraries = 'kafka_engine'" in e.diag.message_hint
    assert isinstance(e, psycopg.Error)


@pytest.mark.parametrize("query", ["SELECT id, name FROM clicks",
                                   "SELECT id, avg(id) AS name FROM clicks GROUP BY id"])
def test_every_alter_is_live(db, clicks, produce, query):
    """Each form of ALTER under the words MATERIALIZED VIEW, with the worker running behind it."""
    is_table = "GROUP" not in query
    sent = 0

    def rows_come(view):
        nonlocal sent
        produce(clicks, numbered(sent, sent + 3))
        sent += 3
        db.wait(view)
        assert db.value(f"SELECT count(*) FROM {view}") == sent

    def alter(view, words):
        db.execute(f"ALTER MATERIALIZED VIEW {view} {words}")

    with db.role() as other:
        db.view("v", query)
        rows_come("v")
        alter("v", "RENAME COLUMN name TO title")
        rows_come("v")
        assert db.value("SELECT title IS NOT NULL FROM v LIMIT 1")
        alter("v", "RENAME TO w")
        rows_come("w")
        assert db.value("SELECT view::text FROM kafka.views") == "w"
        db.execute("CREATE SCHEMA s")
        alter("w", "SET SCHEMA s")
        rows_come("s.w")
        db.execute(f"GRANT ALL ON SCHEMA public, s TO {other}")
        alter("s.w", f"OWNER TO {other}")
        assert db.wait_state("s.w", "retrying")[1].startswith("permission denied")
        db.execute(f"GRANT SELECT ON clicks TO {other}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER broker TO {other}")
        rows_come("s.w")
        db.execute("COMMENT ON MATERIALIZED VIEW s.w IS 'mine'")
        assert db.value("SELECT obj_description('s.w'::regclass, 'pg_class')") == "mine"
        db.execute("GRANT SELECT ON s.w TO PUBLIC")
        alter("IF EXISTS s.w", "SET (kafka.batch_rows = 2)")
        rows_come("s.w")
        assert db.value("SELECT options->>'batch_rows' FROM kafka.views") == "2"
        alter("s.w", "RESET (kafka.batch_rows)")
        alter("s.w", "DEPENDS ON EXTENSION kafka_engine")
        alter("s.w", "NO DEPENDS ON EXTENSION kafka_engine")
        if is_table:
            alter("s.w", "ALTER COLUMN title SET STATISTICS 10, ALTER COLUMN title SET STORAGE MAIN,"
                         " ALTER COLUMN title SET (n_distinct = 5), ALTER COLUMN title RESET (n_distinct)")
            alter("s.w", "SET (fillfactor = 80, kafka.flush_interval = '10ms')")
            alter("s.w", "SET TABLESPACE pg_default")
            db.execute("CREATE UNIQUE INDEX w_id ON s.w (id)")
            alter("s.w", "CLUSTER ON w_id")
            alter("s.w", "SET WITHOUT CLUSTER")
            alter("s.w", "SET ACCESS METHOD heap")
            db.execute("CLUSTER s.w USING w_id")
            db.execute("VACUUM FULL s.w")
        rows_come("s.w")
        kind = "r" if is_table else "v"
        assert db.value("SELECT relkind FROM pg_class WHERE oid = 's.w'::regclass") == kind
        assert db.value("SELECT table_type FROM information_schema.tables WHERE table_name = 'w'") == (
            "BASE TABLE" if is_table else "VIEW")
        assert "FROM clicks" in db.value("SELECT definition FROM kafka.views")
        assert db.value("SELECT count(*) = count(DISTINCT id) FROM s.w")
        db.execute(f"REASSIGN OWNED BY {other} TO CURRENT_USER")
        rows_come("s.w")


def test_dependencies_are_the_servers_own(db, clicks):
    db.execute("CREATE TABLE names (id int PRIMARY KEY, name text)")
    db.execute("CREATE TYPE mood AS ENUM ('good')")
    db.execute("CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'")
    db.view("v", "SELECT twice(c.id) AS id, n.name, 'good'::mood AS mood FROM clicks c JOIN names n"
                 " USING (id)")
    for what in ("TABLE names", "FUNCTION twice(int)", "TYPE mood", "FOREIGN TABLE clicks"):
        e = db.error(f"DROP {what}")
        assert e.sqlstate == "2BP01" and "v" in e.diag.message_detail, what
    assert db.error("ALTER TABLE names DROP COLUMN name").sqlstate == "2BP01"
    assert db.error("ALTER FOREIGN TABLE clicks DROP COLUMN id").sqlstate == "2BP01"
    db.execute("ALTER TABLE names RENAME TO people")
    assert "people" in db.value("SELECT definition FROM kafka.views")
    db.execute("DROP TABLE people CASCADE")
    assert db.rows("SELECT * FROM kafka.views") == []
    assert db.value("SELECT to_regclass('v')") is None


# name: options, query, another one for it, and what the view holds when each had half of the records.
REPLACED = {
    "rows": ({}, "SELECT id, name FROM clicks", "SELECT -id AS id, upper(name) AS name FROM clicks",
             [(-3, "N3"), (-2, "N2"), (0, "n0"), (1, "n1")]),
    "groups": ({}, "SELECT name, count(*) AS n FROM clicks GROUP BY name",
               "SELECT 'all'::text AS name, count(*) AS n FROM clicks WHERE id > 2 GROUP BY 1",
               [("all", 1), ("n0", 1), ("n1", 1)]),
    "states": ({}, "SELECT avg(id) AS mean, count(*) AS n FROM clicks",
               "SELECT avg(id * 10) AS mean, count(*) * 2 AS n FROM clicks", [(51 / 4, 8)]),
    "newest": ({"key": "id", "on_conflict": "update"}, "SELECT id % 2 AS id, name FROM clicks",
               "SELECT id % 2 AS id, name || '!' AS name FROM clicks WHERE id <> 3",
               [(0, "n2!"), (1, "n1")]),
}


@pytest.mark.parametrize("kind", REPLACED)
def test_another_query_from_the_next_record_on(db, clicks, produce, kind):
    options, query, other, wanted = REPLACED[kind]
    db.view("v", query, **options)
    produce(clicks, numbered(0, 2))
    db.wait("v")
    if kind == "rows":  # known by the name it has now
        db.execute("ALTER MATERIALIZED VIEW v RENAME COLUMN name TO title")
        other = other.replace("AS name", "AS title")
    with db.connect(autocommit=False) as c:
        c.execute("SELECT kafka.replace_query('v', %s)", [other])
        c.rollback()
    db.execute("SELECT kafka.replace_query('v', %s)", [other])
    produce(clicks, numbered(2, 4))
    db.wait("v")
    assert sorted(db.rows("SELECT * FROM v")) == wanted
    assert positions(db, "v") == [(0, 4)]
    assert db.state("v")[0] == "running"


def test_what_no_query_can_be_replaced_by(db, kafka, clicks, new_topic):
    db.topic_table("others", COLUMNS, kafka, topic=new_topic())
    db.view("v", "SELECT name, sum(id) AS n FROM clicks GROUP BY name")
    db.view("w", "SELECT id, name FROM clicks")
    # Its columns have lengths and collations, which nobody checks again when rows are stored.
    db.view("x", 'SELECT name::varchar(5) AS name, name COLLATE "C" AS c FROM clicks')
    db.view("y", "SELECT name::varchar(5) AS name, avg(id) AS a FROM clicks GROUP BY 1")
    refused = [
        ("x", 'SELECT name::varchar(9) AS name, name COLLATE "C" AS c FROM clicks', "42P16"),
        ("x", "SELECT name::varchar AS name, name COLLATE \"C\" AS c FROM clicks", "42P16"),
        ("x", "SELECT name::varchar(5) AS name, name AS c FROM clicks", "42P16"),
        ("y", "SELECT name::varchar(9) AS name, avg(id) AS a FROM clicks GROUP BY 1", "42P16"),
        ("v", "SELECT name, max(id)::bigint AS n FROM clicks GROUP BY name", "42P16"),
        ("v", "SELECT name, max(id) AS n FROM clicks GROUP BY name", "42P16"),
        ("v", "SELECT name, avg(id)::bigint AS n FROM clicks GROUP BY name", "42P16"),
        ("v", "SELECT name, id::bigint AS n FROM clicks", "42P16"),
        ("w", "SELECT id FROM clicks", "42P16"), ("w", "SELECT id, name, 1 AS x FROM clicks", "42P16"),
        ("w", "SELECT name, id FROM clicks", "42P16"), ("w", "SELECT id::text, name FROM clicks", "42P16"),
        ("w", "SELECT id, name FROM others", "0A000"), ("w", "DELETE FROM v", "42601"),
        ("others", "SELECT 1", "42809"),
    ]
    for view, query, sqlstate in refused:
        e = db.error("SELECT kafka.replace_query(%s::regclass, %s)", [view, query])
        assert (e.sqlstate, bool(e.diag.message_hint)) == (sqlstate, sqlstate != "42601"), query
    db.execute("SELECT kafka.replace_query('x', %s)",
               ["SELECT upper(name)::varchar(5) AS name, name COLLATE \"C\" AS c FROM clicks"])
    with db.role() as role:
        db.execute(f"SET ROLE {role}")
        assert db.error("SELECT kafka.replace_query('w', 'SELECT id, name FROM clicks')").sqlstate == "42501"
