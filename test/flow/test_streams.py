"""kafka.create_stream on a real Kafka: statements of the user's, once per batch."""

import pytest

COLUMNS = "id int, name text, amount int, _offset bigint, _partition int"


@pytest.fixture
def changes(db, kafka, topic):
    db.topic_table("changes", COLUMNS, kafka, topic=topic)
    db.execute("CREATE TABLE accounts (id int PRIMARY KEY, name text, amount bigint NOT NULL DEFAULT 0)")
    return topic


def stream(db, statement, name="s", table="changes", **options):
    import json
    db.execute("SELECT kafka.create_stream(%s, %s, %s, %s)",
               [name, table, statement, json.dumps(options)])


def made(first, last, amount=1):
    return [{"id": i % 5, "name": f"n{i}", "amount": amount} for i in range(first, last)]


SUMS = "SELECT id, sum(amount) AS amount FROM changes GROUP BY id"

# name: tables filled before, statement, and what accounts hold in the end, from all records.
STATEMENTS = {
    "insert": ("INSERT INTO accounts SELECT _offset, name, amount FROM changes",
               "SELECT _offset, name, amount FROM changes"),
    "upsert": (f"INSERT INTO accounts AS a (id, amount) {SUMS} ORDER BY 1"
               " ON CONFLICT (id) DO UPDATE SET amount = a.amount + excluded.amount",
               "SELECT id, NULL, sum(amount) FROM changes GROUP BY id"),
    "merge": (f"MERGE INTO accounts a USING ({SUMS}) c ON a.id = c.id"
              " WHEN MATCHED THEN UPDATE SET amount = a.amount + c.amount"
              " WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (c.id, c.amount)",
              "SELECT id, NULL, sum(amount) FROM changes GROUP BY id"),
    "several": (f"INSERT INTO accounts (id) SELECT DISTINCT id FROM changes ON CONFLICT DO NOTHING;"
                f" UPDATE accounts a SET amount = a.amount + c.amount FROM ({SUMS}) c WHERE a.id = c.id;"
                " DELETE FROM accounts a USING changes c WHERE a.id = c.id AND c.id = 4",
                "SELECT id, NULL, sum(amount) FROM changes WHERE id <> 4 GROUP BY id"),
    "call": ("CALL load(2)", "SELECT id, NULL, 2 * sum(amount) FROM changes GROUP BY id"),
}


@pytest.fixture
def load(db, changes):
    db.execute("CREATE PROCEDURE load(times int) LANGUAGE plpgsql AS $$ BEGIN"
               " INSERT INTO public.accounts AS a (id, amount) SELECT id, sum(amount) * times"
               " FROM public.changes GROUP BY id ON CONFLICT (id)"
               " DO UPDATE SET amount = a.amount + excluded.amount; END $$")


@pytest.mark.parametrize("batch_rows", [3, 65536])
@pytest.mark.parametrize("kind", STATEMENTS)
def test_every_record_once(db, changes, load, produce, kind, batch_rows):
    statement, wanted = STATEMENTS[kind]
    produce(changes, made(0, 20))
    stream(db, statement, batch_rows=batch_rows)
    db.wait("s")
    produce(changes, made(20, 40, amount=3))
    db.wait("s")
    both = f"SELECT * FROM accounts EXCEPT ({wanted}) UNION ALL (({wanted}) EXCEPT SELECT * FROM accounts)"
    assert db.rows(both.replace("changes", "changes ")) == []
    assert db.value("SELECT count(*) FROM accounts") == db.value(f"SELECT count(*) FROM ({wanted}) w")
    assert db.state("s")[0] == "running"
    assert db.rows("SELECT next_offset FROM kafka.positions WHERE view = 's'::regclass") == [(40,)]


def test_it_is_handled_as_a_view_is(db, changes, produce):
    stream(db, "INSERT INTO accounts SELECT _offset, name, amount FROM changes", paused=True)
    assert db.state("s")[0] == "paused"
    assert "INSERT INTO accounts" in db.value("SELECT definition FROM kafka.views")
    produce(changes, made(0, 5))
    db.execute("SELECT kafka.resume('s')")
    db.wait("s")
    db.execute("SELECT kafka.pause('s')")
    db.execute("TRUNCATE accounts")
    db.execute("SELECT kafka.seek('s', '0:2')")
    # Names are followed, the stream's and those in its statement.
    db.execute("ALTER TABLE accounts RENAME TO people")
    db.execute("ALTER TABLE people RENAME COLUMN name TO who")
    db.execute("ALTER MATERIALIZED VIEW s RENAME TO t")
    db.execute("ALTER MATERIALIZED VIEW t SET (kafka.batch_rows = 1)")
    db.execute("COMMENT ON MATERIALIZED VIEW t IS 'mine'")
    db.execute("SELECT kafka.resume('t')")
    db.wait("t")
    assert db.rows("SELECT id, who FROM people ORDER BY 1") == [(2, "n2"), (3, "n3"), (4, "n4")]
    assert db.rows("SELECT * FROM t") == []
    assert "a stream" in db.error("REFRESH MATERIALIZED VIEW t").diag.message_primary
    # What the statement uses cannot go.
    assert db.error("DROP TABLE people").sqlstate == "2BP01"
    assert db.error("DROP FOREIGN TABLE changes").sqlstate == "2BP01"
    with db.role() as role:
        db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
        db.execute(f"ALTER MATERIALIZED VIEW t OWNER TO {role}")
        assert db.value("SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace ="
                        " 'kafka'::regnamespace AND prokind = 'p'") == role
        db.wait_state("t", "retrying")
        db.execute(f"GRANT SELECT ON changes TO {role}; GRANT INSERT ON people TO {role};"
                   f" GRANT USAGE ON FOREIGN SERVER broker TO {role}")
        produce(changes, made(5, 6))
        db.wait("t")
        db.execute("ALTER MATERIALIZED VIEW t OWNER TO CURRENT_USER")
    db.execute("TRUNCATE people")
    db.execute("SELECT kafka.replace_query('t', 'INSERT INTO people SELECT 100 + _offset FROM changes;"
               " DELETE FROM people p USING changes c WHERE c._offset = 7 AND p.id = 107')")
    produce(changes, made(6, 9))
    db.wait("t")
    assert db.rows("SELECT id FROM people ORDER BY 1") == [(106,), (108,)]
    assert db.error("DROP TABLE people").sqlstate == "2BP01"
    db.execute("SELECT kafka.drop_stream('t')")
    assert db.rows("SELECT * FROM kafka.views") == []
    assert db.rows("SELECT 1 FROM pg_proc WHERE pronamespace = 'kafka'::regnamespace AND prokind = 'p'") == []
    stream(db, "INSERT INTO people SELECT _offset FROM changes")
    db.execute("DROP TABLE people CASCADE")
    assert db.rows("SELECT * FROM kafka.views") == []


def test_bad_records_are_found_and_left_out(db, changes, produce):
    db.execute("ALTER TABLE accounts ADD CHECK (amount < 100)")
    stream(db, "INSERT INTO accounts AS a (id) SELECT DISTINCT id FROM changes ON CONFLICT DO NOTHING;"
               " UPDATE accounts a SET amount = c.amount FROM changes c WHERE c.id = a.id")
    produce(changes, [{"id": 1, "amount": 1}, {"id": 2, "amount": 100}, {"id": "x"},
                      {"id": 3, "amount": 3}])
    db.wait("s")
    assert db.rows("SELECT id, amount FROM accounts ORDER BY 1") == [(1, 1), (3, 3)]
    assert db.rows("SELECT record_offset, sqlstate FROM kafka.dead_letters ORDER BY 1") == [
        (1, "23514"), (2, "22P02")]
    db.execute("ALTER TABLE accounts DROP CONSTRAINT accounts_amount_check")
    assert db.row("SELECT * FROM kafka.retry('s', 'record_offset = 1')") == (1, 1, 0)
    assert db.row("SELECT amount FROM accounts WHERE id = 2") == (100,)


def test_commit_in_a_procedure_stops_it(db, changes, produce):
    db.execute("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
    stream(db, "CALL p()")
    produce(changes, made(0, 1))
    assert "invalid transaction termination" in str(db.wait_state("s", "stopped"))


def test_views_and_streams_share_a_topic(db, changes, produce):
    db.view("v", "SELECT count(*) AS n FROM changes")
    stream(db, STATEMENTS["upsert"][0])
    produce(changes, made(0, 100))
    db.wait("v")
    db.wait("s")
    assert db.value("SELECT n FROM v") == db.value("SELECT sum(amount) FROM accounts") == 100


def test_what_is_refused(db, changes, kafka, new_topic, load):
    db.topic_table("others", COLUMNS, kafka, topic=new_topic())
    refused = [
        ("SELECT * FROM changes", "0A000"), ("INSERT INTO accounts SELECT 1", "42809"),
        ("INSERT INTO accounts SELECT id FROM others", "0A000"), ("", "42601"),
        ("INSERT INTO accounts SELECT id FROM changes RETURNING id", "0A000"),
        ("CREATE TABLE x (a int)", "0A000"), ("COMMIT", "0A000"), ("INSERT INTO nowhere SELECT 1", "42P01"),
        ("CALL load(1); DELETE FROM accounts USING changes", "0A000"),
    ]
    for statement, sqlstate in refused:
        e = db.error("SELECT kafka.create_stream('s', 'changes', %s)", [statement])
        assert e.sqlstate == sqlstate and (sqlstate[:2] == "42" or e.diag.message_hint), statement
    good = "INSERT INTO accounts SELECT id FROM changes"
    assert "for views" in str(db.error("SELECT kafka.create_stream('s', 'changes', %s,"
                                       " '{\"key\": \"id\"}')", [good]))
    assert db.error("SELECT kafka.create_stream('s', 'accounts', %s)", [good]).sqlstate == "42809"
    assert db.error("SELECT kafka.create_stream('accounts', 'changes', %s)", [good]).sqlstate == "42P07"
    assert db.error("SELECT kafka.drop_stream('accounts')").sqlstate == "42809"
    with db.role() as role:
        db.execute(f"GRANT CREATE ON SCHEMA public TO {role}; GRANT SELECT ON changes TO {role};"
                   f" GRANT USAGE ON FOREIGN SERVER broker TO {role}; SET ROLE {role}")
        assert db.error("SELECT kafka.create_stream('s', 'changes', %s)", [good]).sqlstate == "42501"
