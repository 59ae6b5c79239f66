"""Every way in which a record can be wrong, one by one: the good neighbours are stored, the bad one is a
dead letter with the reason, and the position is behind it."""

import dataclasses

import pytest

from wait import wait_until


@dataclasses.dataclass
class Case:
    bad: object                          # the record
    sqlstate: str
    setup: tuple = ()                    # after the view has been made
    before: tuple = ()                   # ahead of it
    query: str = "SELECT id, name FROM clicks"
    column: str = None
    says: str = ""
    options: dict = dataclasses.field(default_factory=dict)
    columns: str = "id int, name text, at timestamptz, n numeric(5,2), tags int[], m mood, e email"


BAD = {"id": 3, "name": "bad"}
TABLE = ("CREATE TABLE t (id int, name text)",)
INTO = {"into": "t"}


def trigger(body, when="BEFORE", table="v", level="ROW"):
    return (f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
            f"CREATE {'CONSTRAINT ' if 'DEFERR' in level else ''}TRIGGER t {when} INSERT ON {table}"
            f" {level if 'DEFERR' in level else 'FOR EACH ' + level} EXECUTE FUNCTION f()")


CASES = {
    # bytes that do not decode
    "not JSON": Case("{", "22P02"),
    "nothing": Case("", "22P02"),
    "white space": Case("  \n", "22P02"),
    "a scalar": Case("7", "22P02"),
    "cut short": Case('{"id": 3, "name": "ba', "22P02"),
    "not UTF-8": Case(b'{"id": 3, "name": "\xff"}', "22021"),
    "one of several": Case([{"id": 10}, {"id": "x"}], "22P02", column="id"),
    # a value that its column's type refuses
    "not a number": Case({"id": "x"}, "22P02", column="id"),
    "out of range": Case({"id": 1 << 40}, "22003", column="id"),
    "a fraction": Case({"id": 1.5}, "22P02", column="id"),
    "too many digits": Case({"id": 3, "n": 12345.6}, "22003", column="n",
                            query="SELECT id, n FROM clicks"),
    "not a time": Case({"id": 3, "at": "2026-13-01"}, "22008", column="at",
                       query="SELECT id, at FROM clicks"),
    "not an array": Case({"id": 3, "tags": [1, "x"]}, "22P02", column="tags",
                         query="SELECT id, tags FROM clicks"),
    "not of the enum": Case({"id": 3, "m": "angry"}, "22P02", column="m",
                            query="SELECT id, m FROM clicks"),
    "a column's domain": Case({"id": 3, "e": "nobody"}, "23514", column="e",
                              query="SELECT id, e FROM clicks"),
    "a zero character": Case('{"id": 3, "name": "\\u0000"}', "22P05", column="name"),
    # a row that its table refuses
    "NOT NULL": Case({"id": 3}, "23502", ("ALTER TABLE v ALTER name SET NOT NULL",), column="name"),
    "CHECK": Case(BAD, "23514", ("ALTER TABLE v ADD CONSTRAINT c CHECK (name <> 'bad')",), says='"c"'),
    "unique": Case(BAD, "23505", ("ALTER TABLE v ADD UNIQUE (id)", "INSERT INTO v VALUES (3, 'mine')")),
    "unique, deferrable": Case(BAD, "23505", (
        "ALTER TABLE v ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED", "INSERT INTO v VALUES (3, 'mine')")),
    "primary key": Case(BAD, "23505", ("ALTER TABLE v ADD PRIMARY KEY (id)",
                                       "INSERT INTO v VALUES (3, 'mine')")),
    "foreign key": Case(BAD, "23503", (
        "CREATE TABLE names (name text PRIMARY KEY)",
        "INSERT INTO names SELECT 'n' || i FROM generate_series(0, 9) i",
        "ALTER TABLE v ADD FOREIGN KEY (name) REFERENCES names")),
    "foreign key, deferred": Case(BAD, "23503", (
        "CREATE TABLE names (name text PRIMARY KEY)",
        "INSERT INTO names SELECT 'n' || i FROM generate_series(0, 9) i",
        "ALTER TABLE v ADD FOREIGN KEY (name) REFERENCES names DEFERRABLE INITIALLY DEFERRED")),
    "exclusion": Case(BAD, "23P01", (
        "ALTER TABLE v ADD EXCLUDE USING gist (int4range(id, id, '[]') WITH &&)",
        "INSERT INTO v VALUES (3, 'mine')")),
    "a target's domain": Case(BAD, "23514", before=("CREATE DOMAIN word AS text CHECK (value <> 'bad')",),
                              query="SELECT id, name::word FROM clicks"),
    "a trigger": Case(BAD, "P0001", trigger(
        "IF NEW.name = 'bad' THEN RAISE 'no %', NEW.name; END IF; RETURN NEW;"), says="no bad"),
    "a trigger that denies": Case(BAD, "42501", trigger(
        "IF NEW.name = 'bad' THEN RAISE insufficient_privilege; END IF; RETURN NEW;")),
    "a trigger afterwards": Case(BAD, "P0001", trigger(
        "IF NEW.name = 'bad' THEN RAISE 'no'; END IF; RETURN NULL;", "AFTER")),
    "a constraint trigger": Case(BAD, "P0001", trigger(
        "IF NEW.name = 'bad' THEN RAISE 'no'; END IF; RETURN NULL;", "AFTER",
        level="DEFERRABLE INITIALLY DEFERRED FOR EACH ROW")),
    "a trigger that is broken": Case(BAD, "42P01", trigger(
        "IF NEW.name = 'bad' THEN INSERT INTO gone VALUES (1); END IF; RETURN NEW;")),
    "an assertion": Case(BAD, "P0004", trigger("ASSERT NEW.name <> 'bad'; RETURN NEW;")),
    "no partition": Case(BAD, "23514", before=(
        "CREATE TABLE t (id int, name text) PARTITION BY LIST (name)",
        "CREATE TABLE t0 PARTITION OF t FOR VALUES IN ('n0', 'n1', 'n2', 'n4', 'n5')"), options=INTO,
        says="no partition"),
    "too long for an index": Case({"id": 3, "name": "bad" * 5000}, "54000",
                                  ("ALTER TABLE v ALTER name SET STORAGE PLAIN",
                                   "CREATE INDEX ON v (name)"), says=""),
    # the query
    "division by zero": Case(BAD, "22012", query="SELECT id, 1 / (id - 3) AS name FROM clicks"),
    "a cast": Case(BAD, "22P02", query="SELECT id, substr(name, 2)::int AS name FROM clicks"),
    "a function": Case(BAD, "P0001", before=(
        "CREATE FUNCTION f(text) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN IF $1 = 'bad' THEN RAISE 'no'; END IF; RETURN $1; END $$",),
        query="SELECT id, f(name) AS name FROM clicks"),
    "a subquery of two rows": Case(BAD, "21000", before=(
        "CREATE TABLE many (name text)", "INSERT INTO many VALUES ('bad'), ('bad')"),
        query="SELECT id, (SELECT m.name FROM many m WHERE m.name = c.name) AS name FROM clicks c"),
    "jsonb": Case({"id": 3, "name": "{"}, "22P02",
                  query="SELECT id, ('{\"a\": ' || length(name) || '}')::jsonb AS j,"
                        " CASE WHEN name = '{' THEN name::jsonb END AS name FROM clicks"),
}


@pytest.mark.parametrize("what", CASES)
def test_wrong(db, kafka, topic, produce, what):
    case = CASES[what]
    db.execute("CREATE TYPE mood AS ENUM ('calm')")
    db.execute("CREATE DOMAIN email AS text CHECK (value LIKE '%@%')")
    for statement in case.before:
        db.execute(statement)
    db.topic_table("clicks", case.columns, kafka, topic=topic)
    db.view("v", case.query, paused=False, **case.options)
    db.wait("v")  # made and planned before anything can be wrong
    for statement in case.setup:
        db.execute(statement)
    had = db.value("SELECT count(*) FROM v")
    neighbours = [{"id": i, "name": f"n{i}"} for i in (0, 1, 2, 4, 5)]
    produce(topic, neighbours[:3] + [case.bad] + neighbours[3:])
    db.wait_count("v", had + 5)
    db.wait("v")
    letter = db.row("SELECT record_offset, sqlstate, column_name, message FROM kafka.dead_letters")
    assert letter[:3] == (3, case.sqlstate, case.column)
    assert case.says in letter[3]
    assert db.column("SELECT next_offset FROM kafka.positions") == [6]
    assert db.value("SELECT rejects FROM kafka.views") == 1
    assert db.value("SELECT count(*) FROM kafka.history WHERE state = 'stopped'") == 0


def test_row_security(db, kafka, topic, produce):
    with db.role() as owner:
        db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}")
        db.topic_table("clicks", "id int, name text", kafka, topic=topic)
        db.execute(f"GRANT SELECT ON clicks TO {owner}")
        db.execute(f"GRANT USAGE ON FOREIGN SERVER broker TO {owner}")
        db.execute("CREATE TABLE t (id int, name text)")
        db.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        db.execute("CREATE POLICY p ON t WITH CHECK (name <> 'bad')")
        db.execute(f"GRANT ALL ON t TO {owner}")
        db.execute(f"SET ROLE {owner}")
        db.view("v", "SELECT id, name FROM clicks", into="t")
        db.execute("RESET ROLE")
        produce(topic, [{"id": 0, "name": "n0"}, BAD, {"id": 2, "name": "n2"}])
        db.wait_count("t", 2)
        assert db.row("SELECT record_offset, sqlstate FROM kafka.dead_letters") == (1, "42501")
        db.execute("DROP MATERIALIZED VIEW v")


def test_a_foreign_key_that_is_mended(db, kafka, topic, produce):
    """The usual story: orders came before their customer."""
    db.topic_table("orders", "id int, customer int", kafka, topic=topic)
    db.execute("CREATE TABLE customers (id int PRIMARY KEY)")
    db.view("v", "SELECT id, customer FROM orders")
    db.execute("ALTER TABLE v ADD FOREIGN KEY (customer) REFERENCES customers")
    produce(topic, [{"id": i, "customer": 7} for i in range(20)])
    wait_until(lambda: db.value("SELECT count(*) FROM kafka.dead_letters") == 20, 60, "all are refused")
    db.execute("INSERT INTO customers VALUES (7)")
    assert db.row("SELECT * FROM kafka.retry('v', 'sqlstate = ''23503''')") == (20, 20, 0)
    assert db.value("SELECT count(*) FROM v") == 20


def test_bad_ones_of_both_kinds_take_turns(db, kafka, topic, produce):
    db.topic_table("clicks", "id int", kafka, topic=topic)
    db.view("v", "SELECT id FROM clicks", max_errors_in_a_row=4)
    db.execute("ALTER TABLE v ADD CHECK (id >= 0)")
    produce(topic, ["{", {"id": -1}, "{", {"id": -1}, {"id": 1}] * 20)
    db.wait_count("v", 20)
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 80
    produce(topic, ["{", {"id": -1}, "{", {"id": -1}, {"id": -1}])
    assert "4 records in a row" in db.wait_state("v", "stopped")[1]
    assert db.column("SELECT next_offset FROM kafka.positions") == [104]


def test_several_views_and_one_that_refuses(db, kafka, new_topic, produce):
    """The others are neither held up nor read anything twice."""
    topic = new_topic(partitions=3)
    db.topic_table("clicks", "id int", kafka, topic=topic)
    for name in "abc":
        db.view(name, "SELECT id FROM clicks")
    db.execute("ALTER TABLE b ADD CHECK (id % 100 <> 0)")
    n = 20000
    produce(topic, [{"id": i} for i in range(n)])
    db.wait_count("a", n)
    db.wait_count("c", n)
    db.wait_count("b", n - n // 100)
    assert db.value("SELECT count(*) FROM kafka.dead_letters WHERE view = 'b'::regclass") == n // 100
    assert db.value("SELECT count(DISTINCT id) FROM b") == n - n // 100
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == n // 100
