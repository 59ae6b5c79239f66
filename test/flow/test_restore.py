"""Dumps and copies of databases with continuous views, a producer running throughout."""

import subprocess

import pytest

from database import Database
from producing import Producing
from wait import wait_until

COLUMNS = "id int, k int, v text"
VIEWS = {
    "rows": ("SELECT id, v FROM facts", {}, "SELECT id, v FROM facts"),
    "groups": ("SELECT k, count(*) AS n FROM facts GROUP BY k", {}, "SELECT k, count(*) FROM facts GROUP BY k"),
    "states": ("SELECT k, avg(id) AS mean, corr(id, length(v)) IS NULL AS c FROM facts GROUP BY k", {},
               "SELECT k, avg(id), corr(id, length(v)) IS NULL FROM facts GROUP BY k"),
    "newest": ("SELECT k, max(id) AS top FROM facts GROUP BY k", {},
               "SELECT k, max(id) FROM facts GROUP BY k"),
}


def some(first, last):
    return [{"id": i, "k": i % 5, "v": f"v{i}"} for i in range(first, last)]


@pytest.fixture
def source(db, kafka, topic):
    """Views of each kind, a stream, one that was paused, and what a dump does not keep by itself."""
    db.topic_table("facts", COLUMNS, kafka, topic=topic)
    for name, (query, options, _) in VIEWS.items():
        db.view(name, query, **options)
    db.execute("ALTER MATERIALIZED VIEW rows ADD COLUMN gone int, ADD COLUMN seen int DEFAULT 1")
    db.execute("ALTER TABLE rows DROP COLUMN gone")
    db.execute("CREATE TABLE wide (gone int, title text, number int)")
    db.view("into_wide", "SELECT v AS title, id AS number FROM facts", into="wide")
    db.execute("ALTER TABLE wide DROP COLUMN gone; ALTER TABLE wide RENAME COLUMN title TO words")
    db.execute("CREATE TABLE sums (k int PRIMARY KEY, n bigint)")
    db.execute("SELECT kafka.create_stream('s', 'facts', 'INSERT INTO sums AS t SELECT k, count(*) FROM facts"
               " GROUP BY k ON CONFLICT (k) DO UPDATE SET n = t.n + excluded.n')")
    db.view("still", "SELECT id FROM facts", paused=True)
    return db


def begun(db):
    """Some rows are there, and with them positions."""
    for table in ("rows", "wide"):
        wait_until(lambda: db.value(f"SELECT count(*) FROM {table}") > 0, what=f"{table} has rows")


def run(db, program, *arguments):
    environment = {**db.cluster.installation.environment(), **db.cluster.client_environment()}
    path = db.cluster.installation.program(program)
    done = subprocess.run([path, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "error" not in done.stderr, done.stderr


def holds_still_then_goes_on(copy):
    """The copy is what the dump's snapshot said; then it reads on to the end."""
    states = copy.rows("SELECT view::text, state, reason FROM kafka.views")
    assert len(states) == len(VIEWS) + 3
    assert all(s[1:] == ("paused", "restored") for s in states if s[0] != "still")
    position = copy.value("SELECT next_offset FROM kafka.positions WHERE view = 'rows'::regclass")
    assert copy.value("SELECT count(*) FROM rows") == position
    assert copy.value("SELECT count(*) FROM wide") == copy.value(
        "SELECT next_offset FROM kafka.positions WHERE view = 'into_wide'::regclass")
    assert copy.value("SELECT kafka.resume_restored()") == len(VIEWS) + 2
    assert copy.value("SELECT kafka.resume_restored()") == 0


def check_whole(copy):
    for name in [*VIEWS, "into_wide", "s"]:
        copy.wait(name)
    for name, (_, _, wanted) in VIEWS.items():
        columns = "id, v" if name == "rows" else "*"
        assert sorted(copy.rows(f"SELECT {columns} FROM {name}")) == sorted(copy.rows(wanted)), name
    assert copy.rows("SELECT number, words FROM wide EXCEPT SELECT id, v FROM facts") == []
    assert copy.value("SELECT count(*) FROM wide") == copy.value("SELECT count(*) FROM facts")
    assert copy.value("SELECT sum(n) FROM sums") == copy.value("SELECT count(*) FROM facts")
    assert copy.state("still")[0] == "paused"
    # Dependencies are there again.
    query = copy.value("SELECT query::text FROM kafka.registry WHERE view = 'groups'::regclass")
    assert copy.error(f"DROP VIEW {query}").sqlstate == "2BP01"
    assert copy.error("DROP TABLE sums").sqlstate == "2BP01"


WAYS = {
    "plain": (["-Fp"], None),
    "jobs": (["-Fd"], [["-j2"]]),
    "sections": (["-Fc"], [["--section=pre-data"], ["--section=data"], ["--section=post-data"]]),
    "clean": (["-Fc"], [["--clean", "--if-exists"]]),
    "other_owner": (["-Fc"], [["--no-owner", "--no-privileges", "--role=heir"]]),
}


@pytest.fixture
def copies():
    """Databases that go at the end."""
    made = []
    yield made
    for copy in made:
        copy.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_dump_goes_on_where_it_stood(source, topic, produce, tmp_path, copies, way):
    dump_options, restores = WAYS[way]
    name, file = f"{source.name}_c", str(tmp_path / "dump")
    with Producing(produce, topic, some):
        begun(source)
        run(source, "pg_dump", *dump_options, "-f", file, "-d", source.name)
        copy = Database(source.cluster, name=name, extension=False)
        copies.append(copy)
        if restores is None:
            run(source, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", name, "-f", file)
        if way == "other_owner":
            source.execute("DO $$ BEGIN CREATE ROLE heir SUPERUSER; EXCEPTION WHEN duplicate_object THEN END $$")
        for options in restores or []:
            run(source, "pg_restore", *options, "-d", name, file)
        assert (copy.value("SELECT relowner::regrole::text FROM pg_class WHERE oid = 'rows'::regclass")
                == "heir") == (way == "other_owner")
        if way == "clean":  # once more over what is there and runs
            copy.execute("SELECT kafka.resume_restored()")
            run(source, "pg_restore", "--clean", "--if-exists", "-d", name, file)
        holds_still_then_goes_on(copy)
    check_whole(copy)
    check_whole_source(source)


def check_whole_source(source):
    source.wait("rows")
    source.wait("into_wide")
    assert source.value("SELECT count(*) FROM rows") == source.value("SELECT count(*) FROM facts")


def test_a_database_made_from_it(source, topic, produce, copies):
    name = f"{source.name}_t"
    with Producing(produce, topic, some):
        begun(source)
        source.connection.close()
        with source.cluster.connect("postgres") as c:
            c.execute(f"CREATE DATABASE {name} TEMPLATE {source.name}")
        copy = Database(source.cluster, name=name, create=False)
        copy._keep = False
        copies.append(copy)
        source.connection = source.connect()
        holds_still_then_goes_on(copy)
    check_whole(copy)
    check_whole_source(source)


def test_after_pg_upgrade_it_goes_on_by_itself(new_cluster, kafka, topic, produce):
    """From the server's version to the same one, which goes the whole way that another would."""
    old = new_cluster()
    db = Database(old, name="d")
    db.topic_table("facts", COLUMNS, kafka, topic=topic)
    for name, (query, options, _) in VIEWS.items():
        db.view(name, query, **options)
    db.execute("CREATE TABLE ids (id int)")
    db.execute("SELECT kafka.create_stream('s', 'facts', 'INSERT INTO ids SELECT id FROM facts')")
    db.view("still", "SELECT id FROM facts", paused=True)
    produce(topic, [{"id": i, "k": i % 5, "v": f"v{i}"} for i in range(100)])
    for name in [*VIEWS, "s"]:
        db.wait(name)
    old.stop()
    new = new_cluster()
    new.stop()
    programs = new.installation.bin
    new._run("pg_upgrade", "-b", programs, "-B", programs, "-d", old.data, "-D", new.data, "-U", "postgres",
             "-s", new.directory, "-p", "50432", "-P", "50433")
    produce(topic, [{"id": i, "k": i % 5, "v": f"v{i}"} for i in range(100, 150)])
    new.start()
    copy = Database(new, name="d", create=False)
    for name, (_, _, wanted) in VIEWS.items():
        copy.wait(name)
        assert sorted(copy.rows(f"SELECT * FROM {name}")) == sorted(copy.rows(wanted)), name
    copy.wait("s")
    assert copy.rows("SELECT id FROM ids EXCEPT ALL SELECT id FROM facts") == []
    assert copy.value("SELECT count(*) FROM ids") == 150
    assert copy.state("still")[0] == "paused"
    assert copy.error("DROP TABLE ids").sqlstate == "2BP01"
