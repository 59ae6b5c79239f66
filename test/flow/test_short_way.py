"""The two ways of a batch's rows into a table give the same: the short one (tuples made by lanes, or the
executor's rows many at a time), and the ordinary insert. A trigger that changes nothing bars the short
one, so that each case runs the same view both ways on random records.
"""

import json
import os
import random

import pytest

from wait import wait_until

SEED = int(os.environ.get("KAFKA_ENGINE_SHORT_WAY_SEED", "1"))
COLUMNS = ("n bigint, i2 smallint, i4 int, f4 real, f8 double precision, ok boolean, num numeric, "
           "num2 numeric(9,2), t text, vc varchar(6), c char(4), b bytea, d date, tm time, ts timestamp, "
           "tz timestamptz, u uuid, j json, jb jsonb, a int[], iv interval, nothing text, "
           "_topic text, _partition int, _offset bigint, _timestamp timestamptz, _key text, "
           "_headers jsonb, _tombstone boolean")
PARTITIONS = 3


def words(r, most):
    return "".join(r.choice("abc de\u00e4\u4e2d\U0001f600\"\\/\n'") for _ in range(r.randrange(most)))


def value_of(r, name):
    kind = r.random()
    if kind < 0.15:
        return None
    if kind < 0.16:
        return r.choice(["x", [], {}, True, -1e30, "99999999999999999999"])  # often refused
    return {
        "i2": lambda: r.randint(-2**15, 2**15 - 1),
        "i4": lambda: r.randint(-2**31, 2**31 - 1),
        "f4": lambda: r.choice([0, -0.0, 1.5, 1e-30, r.random()]),
        "f8": lambda: r.choice([0, -0.0, 1e300, r.random() * 10 ** r.randint(-20, 20)]),
        "ok": lambda: r.random() < 0.5,
        "num": lambda: r.choice(["0", "-0.00", "1e-70", "12345.6789", "9" * r.randrange(1, 400),
                                 f"{r.random():.18f}", "NaN"]),
        "num2": lambda: f"{r.uniform(-9e6, 9e6):.4f}",
        "t": lambda: words(r, r.choice([3, 130, 130, 3000, 20000] if r.random() < 0.1 else [3, 130])),
        "vc": lambda: words(r, 7),
        "c": lambda: words(r, 5),
        "b": lambda: r.choice(["", "YQ==", "YWJjZA=="]),
        "d": lambda: r.choice(["2026-11-21", "0044-03-15 BC", "infinity", "21 Nov 2026"]),
        "tm": lambda: r.choice(["00:00:00", "23:59:59.999999", "24:00"]),
        "ts": lambda: r.choice(["2026-11-21T13:00:00.5", "-infinity", "2026-11-21 1pm"]),
        "tz": lambda: r.choice(["2026-11-21T13:00:00Z", "2026-11-21 13:00:00+05:30", 0, 1790000000000]),
        "u": lambda: f"{r.getrandbits(128):032x}",
        "j": lambda: {"x": [r.random(), None, words(r, 200)]},
        "jb": lambda: {"x": [1, None, words(r, 200)], "x2": {}},
        "a": lambda: [r.randint(-9, 9) for _ in range(r.randrange(5))],
        "iv": lambda: r.choice(["1 day", "PT3H", "-1 mon 2.5 s"]),
    }[name]()


def records(r, n):
    names = "i2 i4 f4 f8 ok num num2 t vc c b d tm ts tz u j jb a iv".split()
    for number in range(n):
        kind = r.random()
        record = {"n": number}
        plain = r.random() < 0.4  # nothing but what has a fast path, and no null
        for name in names:
            if plain or r.random() < 0.85:
                record[name] = value_of(r, name)
        value = json.dumps(record, ensure_ascii=r.random() < 0.5)
        if kind < 0.02:
            value = value[:-r.randrange(1, 20)]  # cut off
        elif kind < 0.04:
            value = None
        elif kind < 0.06:
            value = json.dumps([record, {"n": number, "i4": 7}])  # two rows
        yield {"record": {"value": value, "key": words(r, 9) if r.random() < 0.5 else None,
                          "headers": [("h", words(r, 5).encode())] if r.random() < 0.3 else None,
                          "partition": number % PARTITIONS}}


def barred(db, table):
    """No tuples for this table: its trigger wants to see each row."""
    db.execute("CREATE OR REPLACE FUNCTION as_it_is() RETURNS trigger LANGUAGE plpgsql AS "
               "'BEGIN RETURN NEW; END'")
    db.execute(f"CREATE TRIGGER as_it_is BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION "
               "as_it_is()")


@pytest.fixture
def stream(db, kafka, new_topic, produce):
    """A topic of random records."""
    topic = new_topic(partitions=PARTITIONS)
    db.topic_table("stream", COLUMNS, kafka, topic=topic)
    r = random.Random(SEED)
    produce(topic, list(records(r, 4000)))
    return r


def targets(db, definition, *more):
    """Two tables of one definition, the second one barred."""
    for name in ("short", "long"):
        db.execute(f"CREATE TABLE {name} ({definition})")
        for statement in more:
            db.execute(statement.format(name))
    barred(db, "long")


def compare(db, query, **options):
    """Both views to their ends; the rows in each must be the same, more than a few. How many."""
    for name in ("short", "long"):
        db.view(f"by_{name}", query, into=name, on_error="skip", **options)
    for name in ("short", "long"):
        db.wait(f"by_{name}")
    count = db.value("SELECT count(*) FROM short")
    assert db.rows("SELECT count(*) FROM (TABLE short EXCEPT ALL TABLE long) x") == [(0,)]
    assert db.value("SELECT count(*) FROM long") == count
    (first, second) = db.column("SELECT rejects FROM kafka.views WHERE view::text LIKE 'by_%'")
    assert first == second
    # Bit for bit, sizes and TOAST as well: what is read back through an index or a sort.
    sizes = "SELECT sum(hashtext(t.*::text)), sum(pg_column_size(t.*)) FROM {} t"
    assert db.row(sizes.format("short")) == db.row(sizes.format("long"))
    return count


def names_of(columns):
    return [part.split()[0] for part in columns.split(", ")]


def test_every_column(db, stream):
    targets(db, COLUMNS.replace(" json,", " text,"))
    listed = ", ".join("j::text" if n == "j" else n for n in names_of(COLUMNS))
    assert compare(db, f"SELECT {listed} FROM stream") > 1000


def test_plain_columns_in_any_order(db, stream):
    """Columns as the topic has them: what lanes make tuples for."""
    kinds = dict(part.split(" ", 1) for part in COLUMNS.split(", "))
    usable = [n for n in kinds if n not in ("j", "num2", "jb", "a", "iv", "_headers", "vc", "c")]
    for turn in range(3):
        chosen = stream.sample(usable, stream.randint(1, len(usable)))
        more = (["ALTER TABLE {} DROP COLUMN gone", "ALTER TABLE {} ADD extra int DEFAULT 7",
                 "ALTER TABLE {} ADD extra2 text"] if turn else [])
        targets(db, "gone int, " + ", ".join(f"{n} {kinds[n]}" for n in chosen), *more)
        if not turn:
            db.execute("ALTER TABLE short ALTER gone SET DEFAULT 3;"
                       "ALTER TABLE long ALTER gone SET DEFAULT 3")
        assert compare(db, f"SELECT {', '.join(chosen)} FROM stream") > 1000
        db.execute("DROP MATERIALIZED VIEW by_short; DROP MATERIALIZED VIEW by_long")
        db.execute("DROP TABLE short, long")


def test_expressions_filter_and_join(db, stream):
    db.execute("CREATE TABLE kinds (k int, name text)")
    db.execute("INSERT INTO kinds SELECT k, repeat('k', k * 40) FROM generate_series(0, 4) k, "
               "generate_series(1, 1 + k % 2)")
    targets(db, "n bigint, t text, up text, sum numeric, kind text")
    assert compare(db, "SELECT s.n, t, upper(t) AS up, num * 2 + i4 AS sum, k.name AS kind FROM stream s "
                       "LEFT JOIN kinds k ON k.k = s.n % 7 WHERE i4 > 0 OR t IS NULL") > 500


def test_constraints_and_indexes(db, stream):
    """Refusals by CHECK, NOT NULL and unique indexes are the same records."""
    targets(db, "n bigint NOT NULL, i4 int CHECK (i4 % 10 <> 3), t text, f8 float8 NOT NULL",
            "CREATE UNIQUE INDEX ON {} ((n % 3500)) WHERE n > 10", "CREATE INDEX ON {} (t COLLATE \"C\") "
            "WHERE length(t) < 200", "CREATE INDEX ON {} USING hash (n)")
    assert compare(db, "SELECT n, i4, t, f8 FROM stream") > 1000
    assert db.value("SELECT min(rejects) FROM kafka.views") > 400
    db.execute("SET enable_seqscan = off")
    for table in ("short", "long"):
        for index in ("n = ANY (ARRAY(SELECT n FROM long))", "n % 3500 > -1 AND n > 10"):
            assert db.value(f"SELECT count(*) FROM {table} WHERE {index}") > 1000


def test_refused_by_another_record_only(db, stream):
    """Exclusion, identity, defaults and generated columns keep their meaning."""
    targets(db, "n bigint, id int GENERATED ALWAYS AS IDENTITY, at int DEFAULT 5, "
                "twice bigint GENERATED ALWAYS AS (n * 2) STORED, EXCLUDE USING btree (n WITH =)")
    for name in ("short", "long"):
        db.view(f"by_{name}", "SELECT n FROM stream WHERE n IS NOT NULL", into=name, on_error="skip")
        db.wait(f"by_{name}")
    rows = "SELECT count(*), sum(n), sum(twice), sum(at), count(DISTINCT id), count(DISTINCT n) FROM {}"
    found = db.row(rows.format("short"))
    assert found == db.row(rows.format("long")) and found[0] == found[4] == found[5] > 1000


@pytest.mark.parametrize("query, bar", [("SELECT id, name FROM many", False),
                                        ("SELECT id + 1 AS id, name FROM many WHERE id >= 0", False),
                                        ("SELECT id, name FROM many", True)])
def test_it_is_shorter(db, kafka, topic, produce, query, bar):
    """Rows go in by pages: far fewer records of WAL than rows."""
    db.topic_table("many", "id int, name text", kafka, topic=topic)
    db.execute("CREATE TABLE t (id int, name text)")
    if bar:
        barred(db, "t")
    db.view("v", query, into="t")
    db.wait_state("v", "running")

    def wal():
        return db.value("SELECT wal_records FROM pg_stat_wal")

    before = wal()
    produce(topic, [{"id": n, "name": f"n{n}"} for n in range(20000)])
    db.wait_count("t", 20000)
    if bar:
        wait_until(lambda: wal() - before > 20000, 20, "the worker's statistics are told")
    else:
        wait_until(lambda: wal() > before, 20, "the worker's statistics are told")
        assert wal() - before < 10000


def test_owner_without_the_right_to_insert(db, kafka, new_topic, produce):
    """The short way asks for the owner's rights as an insert does."""
    topic = new_topic()
    with db.role() as role:
        db.topic_table("many", "id int", kafka, topic=topic)
        db.execute("CREATE TABLE t (id int)")
        db.execute(f"GRANT SELECT ON many TO {role}; GRANT INSERT, SELECT ON t TO {role};"
                   f"GRANT USAGE ON FOREIGN SERVER {db.server(kafka)} TO {role};"
                   f"GRANT CREATE ON SCHEMA public TO {role}")
        db.execute(f"SET ROLE {role}")
        db.view("v", "SELECT id FROM many", into="t")
        db.execute("RESET ROLE")
        produce(topic, [{"id": 1}])
        db.wait_count("t", 1)
        db.execute(f"REVOKE INSERT ON t FROM {role}")
        produce(topic, [{"id": 2}])
        db.wait_state("v", "retrying")
        assert db.value("SELECT count(*) FROM t") == 1
        db.execute(f"GRANT INSERT ON t TO {role}")
        db.wait_count("t", 2)
