"""Keyed views on a real Kafka: the newest row of each key, the first one, deletes, tables of the user's."""

import random

import pytest

COLUMNS = ("id int OPTIONS (source 'key', path '$'), v text, n int, _tombstone boolean,"
           " _partition int, _offset bigint")


@pytest.fixture
def changes(db, kafka, topic):
    db.topic_table("changes", COLUMNS, kafka, topic=topic, key_format="json")
    return topic


def change(key, value):
    return record(key, None if value is None else {"v": value, "n": len(value)})


def record(key, value):
    return {"record": {"key": key, "value": value}}


def apply_one_by_one(changes, how, state=None):
    """What a table would hold: the judge."""
    state = dict(state or {})
    for key, value in changes:
        if value is None:
            state.pop(key, None)
        elif how == "update" or key not in state:
            state[key] = value
    return state


def some_changes(rng, count, keys=12):
    return [(rng.randrange(keys), None if rng.random() < 0.25 else f"v{n}") for n in range(count)]


@pytest.mark.parametrize("batch_rows", [1, 7, 65536])
@pytest.mark.parametrize("how", ["update", "nothing"])
def test_batches_end_as_if_applied_one_by_one(db, changes, produce, how, batch_rows):
    db.view("t", "SELECT id, v, n FROM changes", key="id", on_conflict=how, delete_when="_tombstone",
            batch_rows=batch_rows)
    rng = random.Random(f"{how} {batch_rows}")
    done = []
    for _ in range(3):
        new = some_changes(rng, 200)
        produce(changes, [change(str(k), v) for k, v in new])
        done += new
        db.wait("t")
        assert dict(db.rows("SELECT id, v FROM t")) == apply_one_by_one(done, how)
    assert db.state("t")[0] == "running"
    assert db.value("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND indisprimary") == 1


def test_order_through_joins_and_subqueries(db, changes, produce):
    db.execute("CREATE TABLE words (id int PRIMARY KEY, word text)")
    db.execute("INSERT INTO words SELECT n, 'w' || n FROM generate_series(0, 11) n")
    db.view("t", "SELECT s.id, w.word, s.v FROM words w JOIN (SELECT id, v FROM changes WHERE"
                 " NOT _tombstone) s ON s.id = w.id", key="id", on_conflict="update")
    rng = random.Random(3)
    done = [(k, v) for k, v in some_changes(rng, 1000) if v]
    produce(changes, [change(str(k), v) for k, v in done])
    db.wait("t")
    assert db.rows("SELECT id, word, v FROM t ORDER BY id") == [
        (k, f"w{k}", v) for k, v in sorted(apply_one_by_one(done, "update").items())]


def test_a_compacted_topic_is_a_table_of_current_values(db, kafka, new_topic, produce):
    topic = new_topic(cleanup_policy="compact")
    db.topic_table("users", COLUMNS, kafka, topic=topic, key_format="json")
    db.view("current", "SELECT id, v AS name FROM users", key="id", on_conflict="update",
            delete_when="_tombstone")
    produce(topic, [change("1", "ann"), change("2", "bob"), change("1", "anna"), change("2", None)])
    db.wait("current")
    assert db.rows("SELECT * FROM current") == [(1, "anna")]
    produce(topic, [change("2", "ben"), change("1", None)])
    db.wait("current")
    assert db.rows("SELECT * FROM current") == [(2, "ben")]
    # Read again from the start it ends in the same rows.
    db.execute("SELECT kafka.seek('current', 'earliest')")
    db.wait("current")
    assert db.rows("SELECT * FROM current") == [(2, "ben")]


def test_a_repeated_key_is_an_error_unless_told(db, changes, produce):
    db.view("t", "SELECT id, v FROM changes", key="id", on_error="skip")
    produce(changes, [change("1", "a"), change("2", "b"), change("1", "c")])
    db.wait("t")
    assert db.rows("SELECT id, v FROM t ORDER BY id") == [(1, "a"), (2, "b")]
    assert db.value("SELECT rejects FROM kafka.views") == 1


def test_a_key_that_is_null_is_a_bad_record(db, changes, produce):
    db.view("t", "SELECT n AS id, v FROM changes", key="id", on_conflict="update", on_error="skip")
    produce(changes, [record("1", {"n": 1, "v": "a"}), record("1", {"v": "b"}),
                      record("1", {"n": 1, "v": "c"})])
    db.wait("t")
    assert db.rows("SELECT * FROM t") == [(1, "c")]
    assert db.value("SELECT rejects FROM kafka.views") == 1


def test_a_delete_without_a_key_hides_nothing(db, changes, produce):
    for how in ("update", "nothing"):
        db.view(how, "SELECT n AS id, v FROM changes", key="id", on_conflict=how,
                delete_when="v = 'gone'", on_error="skip", paused=True)
    produce(changes, [record("1", {"v": "a"}), record("1", {"v": "gone"}), record("1", {"n": 1, "v": "b"})])
    for how in ("update", "nothing"):
        db.execute(f"SELECT kafka.resume('{how}')")
        db.wait(how)
        assert db.rows(f"SELECT * FROM {how}") == [(1, "b")]
    assert db.column("SELECT rejects FROM kafka.views") == [1, 1]


# Equality that is its own, in a schema that no search_path has.
FOLDED = """
CREATE SCHEMA words; SET search_path = words, public; CREATE TYPE ci;
CREATE FUNCTION ci_in(cstring) RETURNS ci LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ci_out(ci) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ci (INPUT = ci_in, OUTPUT = ci_out, LIKE = text, COLLATABLE = true);
CREATE CAST (ci AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS ci) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION ci_cmp(a ci, b ci) RETURNS int LANGUAGE sql IMMUTABLE STRICT
    RETURN pg_catalog.bttextcmp(lower(a::text), lower(b::text));
""" + "".join(f"""
CREATE FUNCTION ci_{name}(a ci, b ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT
    RETURN ci_cmp(a, b) {op} 0;
CREATE OPERATOR {op} (LEFTARG = ci, RIGHTARG = ci, FUNCTION = ci_{name});
""" for name, op in [("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">")]) + """
CREATE OPERATOR CLASS ci_ops DEFAULT FOR TYPE ci USING btree AS OPERATOR 1 <, OPERATOR 2 <=,
    OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 ci_cmp(ci, ci);
RESET search_path"""


def test_keys_are_told_apart_as_their_column_does(db, changes, produce):
    db.execute(FOLDED)
    db.execute("CREATE DOMAIN tenth AS numeric(6, 1)")
    db.execute("CREATE TABLE padded (k char(5) PRIMARY KEY, n int); CREATE TABLE folded"
               " (k words.ci PRIMARY KEY, n int); CREATE TABLE rounded (n tenth PRIMARY KEY, k text)")
    options = {"on_conflict": "update", "batch_rows": 65536, "on_error": "skip"}
    for table in ("padded", "folded"):
        db.view(f"v_{table}", "SELECT v AS k, n FROM changes", into=table, key="k",
                delete_when="n < 0", **options)
    db.view("v_rounded", "SELECT n / 100.0 AS n, v AS k FROM changes", into="rounded", key="n", **options)
    produce(changes, [record("1", {"v": v, "n": n}) for v, n in
                      [("ab", 11), ("ac", 14), ("Zz", 25), ("too long", 26), ("xy", 31), ("XY", 32),
                       ("Ab ", 41), ("zz", -1)]])
    for table in ("padded", "folded", "rounded"):
        db.wait(f"v_{table}")
    assert db.rows("SELECT k, n FROM padded ORDER BY n") == [
        ("ab   ", 11), ("ac   ", 14), ("Zz   ", 25), ("xy   ", 31), ("XY   ", 32), ("Ab   ", 41)]
    assert db.rows("SELECT k::text, n FROM folded ORDER BY n") == [
        ("ab", 11), ("ac", 14), ("too long", 26), ("XY", 32), ("Ab ", 41)]
    assert db.rows("SELECT n::float8, k FROM rounded ORDER BY n, k") == [
        (0.0, "zz"), (0.1, "ac"), (0.3, "XY"), (0.4, "Ab ")]
    assert db.rows("SELECT view::text, rejects FROM kafka.views ORDER BY 1") == [
        ("v_folded", 0), ("v_padded", 1), ("v_rounded", 0)]


def test_into_a_table_with_all_that_a_table_has(db, changes, produce):
    db.execute("CREATE TABLE log (what text)")
    db.execute("CREATE TABLE accounts (number int GENERATED ALWAYS AS IDENTITY, id bigint NOT NULL,"
               " v text CHECK (v <> 'bad'), twice text GENERATED ALWAYS AS (v || v) STORED,"
               " seen int DEFAULT 7, UNIQUE (id)) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE accounts_1 PARTITION OF accounts FOR VALUES FROM (0) TO (5)")
    db.execute("CREATE TABLE accounts_2 PARTITION OF accounts FOR VALUES FROM (5) TO (10)")
    db.execute("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
               " $$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN coalesce(NEW, OLD); END $$")
    db.execute("CREATE TRIGGER noting BEFORE INSERT OR DELETE ON accounts FOR EACH ROW"
               " EXECUTE FUNCTION note()")
    db.view("a", "SELECT id, v FROM changes", into="accounts", key="id", on_conflict="update",
            delete_when="changes._tombstone", on_error="skip")
    assert db.value("SELECT count(*) FROM pg_index WHERE indrelid = 'accounts'::regclass") == 1
    produce(changes, [change("1", "a"), change("7", "b"), change("1", "bad"), change("11", "none"),
                      change("7", "c"), change("8", "d"), change("8", None), change("2", "e")])
    db.wait("a")
    assert db.rows("SELECT id, v, twice, seen FROM accounts ORDER BY id") == [
        (1, "a", "aa", 7), (2, "e", "ee", 7), (7, "c", "cc", 7)]
    assert db.rows("SELECT * FROM a ORDER BY id") == [(1, "a"), (2, "e"), (7, "c")]
    assert db.value("SELECT rejects FROM kafka.views") == 2
    assert db.value("SELECT count(*) FROM log WHERE what = 'INSERT'") >= 3
    db.execute("DROP MATERIALIZED VIEW a")
    assert db.value("SELECT count(*) FROM accounts") == 3


def test_row_security_judges_every_change(db, changes, produce):
    """For INSERT, UPDATE and DELETE by key, as the view's owner, who does not own the table."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text, hidden boolean DEFAULT false)")
    db.execute("INSERT INTO t VALUES (8, 'theirs', true), (9, 'theirs', true)")
    db.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY r ON t USING (NOT hidden)"
               " WITH CHECK (v <> 'bad')")
    with db.role() as owner:
        db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}; GRANT SELECT ON changes TO {owner};"
                   f" GRANT USAGE ON FOREIGN SERVER broker TO {owner}; GRANT ALL ON t TO {owner};"
                   f" SET ROLE {owner}")
        db.view("a", "SELECT id, v FROM changes", into="t", key="id", on_conflict="update",
                delete_when="_tombstone")
        db.execute("RESET ROLE")
        produce(changes, [change("1", "a"), change("2", "b"), change("1", "bad"), change("2", None),
                          change("3", "c"), change("3", "d"), change("9", None), change("8", "mine")])
        db.wait("a")
        assert db.rows("SELECT id, v FROM t ORDER BY id") == [
            (1, "a"), (3, "d"), (8, "theirs"), (9, "theirs")]
        assert db.rows("SELECT record_offset, sqlstate FROM kafka.dead_letters ORDER BY 1") == [
            (2, "42501"), (7, "42501")]
        db.execute("DROP MATERIALIZED VIEW a")


def test_groups_into_a_table(db, changes, produce):
    db.execute("CREATE TABLE sums (total bigint, word text, note text DEFAULT 'new')")
    db.view("s", "SELECT v AS word, sum(n) AS total FROM changes GROUP BY v", into="sums")
    produce(changes, [change("1", w) for w in ("a", "bb", "a", None, "bb", "a")])
    db.wait("s")
    db.execute("UPDATE sums SET note = 'seen'")
    produce(changes, [change("1", w) for w in ("a", "ccc", None)])
    db.wait("s")
    assert db.rows("SELECT word, total, note FROM sums ORDER BY word") == [
        ("a", 4, "seen"), ("bb", 4, "seen"), ("ccc", 3, "new"), (None, None, "seen")]
