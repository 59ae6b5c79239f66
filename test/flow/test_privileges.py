"""What a view's query, its target and its records may not reach: other identities, other people's names for
operators, secrets in what the library says of itself, SQL in keys and headers. Who may do what by DDL and
functions is in sql/privileges.sql."""

import json
import re

from psycopg import sql

from wait import wait_until

# Whatever leaves the owner's identity, or outlives the batch.
ESCAPES = {
    "set role": "SET ROLE postgres",
    "reset role": "RESET ROLE",
    "session authorization": "SET SESSION AUTHORIZATION postgres",
    "temporary table": "CREATE TEMP TABLE mine (n int)",
    "superuser's table": "SELECT * FROM public.vault",
    "own rights": "ALTER ROLE CURRENT_USER SUPERUSER",
    "our catalogs": "UPDATE kafka.progress SET next_offset = 0",
    "files": "COPY public.tried TO '/tmp/out'",
    "programs": "COPY public.tried FROM PROGRAM 'echo'",
    "deferred code": "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON mallory.t DEFERRABLE INITIALLY DEFERRED"
                     " FOR EACH ROW EXECUTE FUNCTION mallory.on_row()",
    "cursors that outlive": "DECLARE c CURSOR WITH HOLD FOR SELECT mallory.f()",
}


def test_code_of_the_owner_runs_as_the_owner(db, kafka, topic, produce):
    """In the query, a default, a trigger and a constraint of the target; each tries to be somebody else."""
    db.topic_table("clicks", "n int", kafka, topic=topic)
    db.execute("CREATE TABLE vault (secret text); CREATE TABLE tried"
               " (place text, what text, state text, who text); CREATE TABLE escapes (what text, act text)")
    for what, act in ESCAPES.items():
        db.execute("INSERT INTO escapes VALUES (%s, %s)", [what, act])
    with db.role("mallory") as mallory:
        db.execute(f"CREATE SCHEMA mallory AUTHORIZATION {mallory};"
                   f" GRANT SELECT ON clicks, escapes TO {mallory}; GRANT INSERT, SELECT ON tried TO {mallory};"
                   f" GRANT USAGE ON FOREIGN SERVER {db.server(kafka)} TO {mallory}; SET ROLE {mallory}")
        db.execute("""CREATE FUNCTION mallory.try(place text) RETURNS int LANGUAGE plpgsql AS $$
            DECLARE e record; state text; BEGIN
                FOR e IN SELECT * FROM public.escapes LOOP
                    BEGIN EXECUTE e.act; state := 'done';
                    EXCEPTION WHEN OTHERS THEN state := SQLSTATE; END;
                    INSERT INTO public.tried VALUES (place, e.what, state, current_user);
                END LOOP; RETURN 1; END $$;
            CREATE FUNCTION mallory.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
            CREATE FUNCTION mallory.on_row() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM mallory.try('trigger'); RETURN NEW; END $$;
            CREATE TABLE mallory.t (n int CHECK (mallory.try('check') = 1),
                                    more int DEFAULT mallory.try('default'));
            CREATE TRIGGER on_row BEFORE INSERT ON mallory.t FOR EACH ROW EXECUTE FUNCTION mallory.on_row()""")
        db.execute("CREATE MATERIALIZED VIEW mallory.v WITH (kafka.continuous, kafka.into = 'mallory.t') AS"
                   " SELECT n + mallory.try('query') AS n FROM clicks")
        db.execute("RESET ROLE")
        produce(topic, [{"n": 1}])
        db.wait_count("mallory.t", 1)
        assert set(db.column("SELECT DISTINCT place FROM tried")) == {"query", "default", "check", "trigger"}
        assert db.column("SELECT DISTINCT who FROM tried") == [mallory]
        done = set(db.column("SELECT DISTINCT what FROM tried WHERE state = 'done'"))
        assert done <= {"deferred code"}, done  # on a table of its own it may, and it runs as itself
        assert not db.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'")
        db.execute("DROP MATERIALIZED VIEW mallory.v")


def test_names_of_others_are_not_taken(db, kafka, topic, produce):
    """Somebody's operators and functions stand before the server's own for everybody in the database."""
    db.topic_table("clicks", "n int, word text", kafka, topic=topic)
    db.view("sums", "SELECT n % 2 AS odd, count(*) AS records, sum(n) AS total, avg(n) AS mean, max(word) AS word"
                    " FROM clicks GROUP BY 1")
    db.view("newest", "SELECT n % 2 AS odd, word FROM clicks", key="odd", on_conflict="update",
            delete_when="word = 'none'")
    db.execute("CREATE TABLE kept (n int); CREATE SCHEMA evil")
    for left, right, result in (("bigint", "bigint", "bigint"), ("numeric", "numeric", "numeric"),
                                ("int", "int", "int")):
        db.execute(f"CREATE FUNCTION evil.plus({left}, {right}) RETURNS {result} LANGUAGE plpgsql AS"
                   " $$ BEGIN RAISE 'evil'; END $$;"
                   f" CREATE OPERATOR evil.+ (leftarg = {left}, rightarg = {right}, function = evil.plus)")
    for kind in ("oid", "int", "bigint", "text", "name", "regclass", "json", "jsonb", '"char"'):
        db.execute(f"CREATE FUNCTION evil.same({kind}, {kind}) RETURNS boolean LANGUAGE plpgsql AS"
                   " $$ BEGIN RAISE 'evil'; END $$;"
                   f" CREATE OPERATOR evil.= (leftarg = {kind}, rightarg = {kind}, function = evil.same);"
                   f" CREATE FUNCTION evil.greatest({kind}) RETURNS {kind} LANGUAGE sql AS 'SELECT $1'")
    db.execute("CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$")
    db.execute(f"ALTER DATABASE {db.name} SET search_path = evil, pg_catalog, public")
    db.connection = db.connect()
    # A worker that knew another path would have planned before: all is planned anew.
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'kafka_engine worker%'")
    produce(topic, [{"n": i, "word": "none" if i == 9 else f"w{i}"} for i in range(10)])
    produce(topic, ["not json"])
    wait_until(lambda: db.value("SELECT count(*) FROM kafka.dead_letters") > 0, 60, "the bad one is kept")
    db.wait("public.sums")
    db.wait("public.newest")
    db.execute("SELECT kafka.retry('public.sums', 'record_offset >= 0'); SELECT kafka.discard('public.sums')")
    db.execute("SELECT kafka.pause('public.sums'); SELECT kafka.resume('public.sums')")
    # And what sessions do, where even temporary tables have our names.
    db.execute("CREATE TEMP TABLE pg_class (n int); CREATE TEMP TABLE registry (n int); CREATE TEMP TABLE progress (n int);"
               " SET search_path = pg_temp, evil, pg_catalog, public")
    for view in ("sums", "newest"):
        db.execute(f"REFRESH MATERIALIZED VIEW {view}; REFRESH MATERIALIZED VIEW CONCURRENTLY {view};"
                   f" ALTER MATERIALIZED VIEW {view} SET (kafka.batch_rows = 7);"
                   f" ALTER MATERIALIZED VIEW {view} RENAME TO other_{view}; ALTER MATERIALIZED VIEW other_{view} RENAME TO {view};"
                   f" SELECT kafka.seek('{view}', 'latest')")
    db.execute("SELECT view, state, reason, error FROM kafka.views")  # pg_get_viewdef itself is not proof against it
    for relation in ("lag", "workers", "gaps", "dead_letters", "skipped", "history", "positions"):
        db.execute(f"SELECT * FROM kafka.{relation}")
    db.execute(f"SELECT * FROM kafka.sample('{db.server(kafka)}', '{topic}', 'json')")
    db.execute("SELECT kafka.create_stream('public.s', 'clicks', 'INSERT INTO public.kept SELECT n FROM public.clicks');"
               " SELECT kafka.drop_stream('public.s')")
    db.execute("SET search_path = public")
    assert db.rows("SELECT odd, records, total, mean::int, word FROM sums ORDER BY odd") == [
        (0, 5, 20, 4, "w8"), (1, 5, 25, 5, "w7")]
    assert db.rows("SELECT odd, word FROM newest") == [(0, "w8")]


def test_secrets_are_in_nothing_that_is_said(db, kafka, topic, produce):
    """Not in librdkafka's statistics, nor in its log with everything it can tell, nor in what others see."""
    produce(topic, [{"n": 1}])
    db.execute(f"CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers '{kafka.login_address}',"
               " security_protocol 'sasl_plaintext', sasl_mechanism 'PLAIN', debug 'all',"
               " statistics_interval_ms '200')")
    db.execute("CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (sasl_username 'spy', sasl_password 'hush-hush-77')")
    db.execute(f"CREATE FOREIGN TABLE t (n int) SERVER s OPTIONS (topic '{topic}')")
    db.view("v", "SELECT n FROM t")
    db.wait_count("v", 1)
    statistics = wait_until(lambda: db.value("SELECT max(librdkafka::text) FROM kafka.workers"), 60,
                            "there are statistics")
    assert json.loads(statistics)["brokers"]
    wait_until(lambda: "librdkafka: " in db.cluster.log_text(), 60, "the library has spoken")
    db.execute("SELECT * FROM t")
    said = [statistics, db.cluster.log_text(), str(db.rows("EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM t"))]
    for relation in ("kafka.views", "kafka.workers", "kafka.history", "pg_stat_activity"):
        said.append(str(db.rows(f"SELECT * FROM {relation}")))
    with db.role() as other:
        db.execute(f"SET ROLE {other}")
        said.append(str(db.rows("SELECT umoptions FROM pg_user_mappings")))
        db.execute("RESET ROLE")
    assert not [text for text in said if "hush-hush" in text]


def test_records_are_never_sql(db, kafka, topic, produce, new_topic):
    """Keys, values, headers and their names go into dead letters and out again as they came."""
    nasty = "x'); DROP TABLE v; -- $1 \\ \" %s"
    letters = new_topic()
    db.topic_table("t", "n int, _headers jsonb", kafka, topic=topic)
    db.view("v", "SELECT n, _headers::text AS h FROM t", dead_letter_topic=letters)
    produce(topic, [{"record": {"value": nasty, "key": nasty, "headers": [(nasty, nasty.encode())]}},
                    {"record": {"value": {"n": 1}, "key": nasty, "headers": [(nasty, nasty.encode())]}}])
    db.wait_count("v", 1)
    (key, value, headers), = db.rows("SELECT convert_from(key, 'UTF8'), convert_from(value, 'UTF8'), headers"
                                     " FROM kafka.dead_letters")
    assert (key, value, headers) == (nasty, nasty, [{"name": nasty, "value": nasty}])
    assert json.loads(db.value("SELECT h FROM v")) == headers
    assert db.row("SELECT retried, stored, kept FROM kafka.retry('v', %s)",
                  ["key = convert_to($q$" + nasty + "$q$, 'UTF8')"]) == (1, 0, 1)
    # At least once: a letter that was just sent is sent again where a retry holds it.
    wait_until(lambda: {m.key().decode() for m in kafka.read_all(letters)} == {nasty}, 60, "the letter is sent")


NASTY = "n\"'); DROP TABLE vault; --"


def test_names_are_never_sql(db, kafka, topic, produce):
    """Of tables, columns, schemas, roles, paths, comments and groups, in every statement that we put together."""
    def q(name):
        return '"' + name.replace('"', '""') + '"'

    db.execute("CREATE TABLE vault (n int)")
    key, value, schema, view = (f"{x} {NASTY}" for x in ("key", "value", "s", "v"))
    db.execute(f"CREATE SCHEMA {q(schema)}; SET search_path = {q(schema)}, public")
    path = ("$." + json.dumps("p'$1;--")).replace("'", "''")
    db.topic_table(q("t" + NASTY), f"{q(key)} int, {q(value)} text OPTIONS (path '{path}'), _tombstone boolean",
                   kafka, topic=topic)
    source = q("t" + NASTY)
    # {how: options}; each shape puts other statements together.
    shapes = {"plain": {}, "keyed": {"key": q(key), "on_conflict": "update", "delete_when": f"{q(value)} = 'gone'"},
              "into": {"into": q("target" + NASTY)}}
    db.execute(f"CREATE TABLE {q('target' + NASTY)} ({q(value)} text, {q(key)} int)")
    for how, options in shapes.items():
        db.view(q(how + view), f"SELECT {q(key)}, {q(value)} FROM {source}", group_id=NASTY, **options)
    db.view(q("sums" + view), f"SELECT {q(key)}, count(*) AS {q('c' + NASTY)}, avg({q(key)}) AS {q('a' + NASTY)},"
                              f" max({q(value)}) AS {q('m' + NASTY)} FROM {source} GROUP BY 1 HAVING count(*) > 0")
    db.execute(f"CREATE TABLE {q('log' + NASTY)} ({q(key)} int)")
    db.execute("SELECT kafka.create_stream(%s, %s::regclass, %s)",
               [q("stream" + NASTY), source, f"INSERT INTO {q('log' + NASTY)} SELECT {q(key)} FROM {source}"])
    produce(topic, [{key: n % 3, "p'$1;--": "gone" if n % 3 == 2 else NASTY} for n in range(9)] + ["bad"])
    counts = {"plain" + view: 9, "keyed" + view: 2, "into" + view: 9, "sums" + view: 3, "log" + NASTY: 9}
    for name, count in counts.items():
        db.wait_count(q(name), count)
    assert db.value(f"SELECT DISTINCT {q('m' + NASTY)} FROM {q('sums' + view)} WHERE {q(key)} = 0") == NASTY
    for how in (*shapes, "sums"):
        name = q(how + view)
        db.execute(f"COMMENT ON MATERIALIZED VIEW {name} IS '{NASTY.replace(chr(39), chr(39) * 2)}'")
        if how != "into":
            db.execute(f"REFRESH MATERIALIZED VIEW {name}")
        if how == "plain":
            db.execute("SELECT kafka.replace_query(%s::regclass, %s)",
                       [name, f"SELECT {q(key)}, {q(value)} || '' AS {q(value)} FROM {source}"])
        db.execute(f"ALTER MATERIALIZED VIEW {name} RENAME TO {q('w' + how + NASTY)}")
        name = q("w" + how + NASTY)
        db.execute(f"ALTER MATERIALIZED VIEW {name} RENAME COLUMN {q(key)} TO {q(key + '2')}")
        assert db.value("SELECT kafka.wait(%s::regclass, '1 minute')", [name])
        db.execute("SELECT kafka.retry(%s::regclass), kafka.discard(%s::regclass, 'true')", [name, name])
        assert db.value(f"SELECT count(*) FROM {name}") == counts[how + view]
        db.execute(f"DROP MATERIALIZED VIEW {name}")
    db.execute("SELECT kafka.drop_stream(%s)", [q("stream" + NASTY)])
    assert db.value("SELECT to_regclass('public.vault')") == "vault"
    assert db.rows("SELECT 1 FROM kafka.registry") == []


def test_a_superuser_lends_nobody_rights(db, kafka, topic, produce):
    """Who refreshes, retries, resumes or alters a view of somebody's runs that one's code as that one."""
    db.topic_table("clicks", "n int", kafka, topic=topic)
    with db.role("mallory") as mallory:
        db.execute(f"CREATE SCHEMA mallory AUTHORIZATION {mallory}; GRANT SELECT ON clicks TO {mallory};"
                   f" GRANT USAGE ON FOREIGN SERVER {db.server(kafka)} TO {mallory}; SET ROLE {mallory}")
        # Immutable as it says: the planner runs it wherever it plans.
        db.execute("""CREATE FUNCTION mallory.spy(act text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
                $$ BEGIN RAISE LOG 'spy % as %', act, current_user; RETURN true; END $$;
            CREATE FUNCTION mallory.on_row() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM mallory.spy('trigger'); RETURN NEW; END $$;
            CREATE MATERIALIZED VIEW mallory.v WITH (kafka.continuous) AS
                SELECT n FROM clicks WHERE mallory.spy('query') AND n / (n - 5) IS NOT NULL;
            CREATE INDEX ON mallory.v ((n + mallory.spy('index')::int)) WHERE mallory.spy('predicate');
            CREATE MATERIALIZED VIEW mallory.k WITH (kafka.continuous, kafka.key = 'n',
                kafka.delete_when = 'NOT mallory.spy(''delete'')') AS SELECT n FROM clicks;
            CREATE TRIGGER on_row BEFORE INSERT ON mallory.k FOR EACH ROW EXECUTE FUNCTION mallory.on_row();
            CREATE MATERIALIZED VIEW mallory.s WITH (kafka.continuous) AS
                SELECT n, count(*) FILTER (WHERE mallory.spy('filter')) AS c, avg(n) AS a FROM clicks GROUP BY n""")
        db.execute("RESET ROLE")
        produce(topic, [{"n": n} for n in range(10)])
        for view in ("v", "k", "s"):  # not by a SELECT, which plans as who asks: that is PostgreSQL's own
            assert db.value(f"SELECT kafka.wait('mallory.{view}', '1 minute')")
        before = len(db.cluster.log_text())
        for view in ("v", "k", "s"):
            db.execute(f"SELECT kafka.pause('mallory.{view}'), kafka.resume('mallory.{view}')")
            db.execute(f"REFRESH MATERIALIZED VIEW mallory.{view}")
            db.execute(f"SELECT kafka.retry('mallory.{view}', 'mallory.spy(''condition'')')")
            db.execute(f"SELECT kafka.discard('mallory.{view}', 'mallory.spy(''discard'') AND false')")
            db.execute(f"ALTER MATERIALIZED VIEW mallory.{view} SET (kafka.batch_rows = 10)")
            db.execute(f"ALTER FOREIGN TABLE clicks OPTIONS ({'ADD' if view == 'v' else 'SET'} batch_rows '100')")
            assert db.value(f"SELECT kafka.wait('mallory.{view}', '1 minute')")
        for relation in ("views", "lag", "dead_letters", "positions"):
            db.rows(f"SELECT * FROM kafka.{relation}")
        db.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY mallory.k")
        seen = set(re.findall(r"spy (\w+) as (\w+)", db.cluster.log_text()[before:]))
        assert {who for _, who in seen} == {mallory}, seen
        assert {act for act, _ in seen} == {"query", "trigger", "index", "predicate", "delete", "filter",
                                            "condition", "discard"}, seen
        for view in ("v", "k", "s"):
            db.execute(f"DROP MATERIALIZED VIEW mallory.{view}")


def test_a_batch_leaves_nothing_of_its_code_behind(db, kafka, topic, produce):
    """Settings, locks and identities that somebody's code takes for the session are gone when the next view has its
    turn, and when the batch is over; code that is lent by another runs as that one, and no further."""
    db.topic_table("clicks", "n int", kafka, topic=topic)
    with db.role("mallory") as mallory, db.role("eve") as eve:
        db.execute(f"CREATE SCHEMA mallory AUTHORIZATION {mallory}; CREATE SCHEMA eve AUTHORIZATION {eve};"
                   f" GRANT SELECT ON clicks TO {mallory}; GRANT USAGE ON SCHEMA eve TO {mallory};"
                   f" GRANT USAGE ON FOREIGN SERVER {db.server(kafka)} TO {mallory}; SET ROLE {eve}")
        db.execute("""CREATE FUNCTION eve.lent() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = eve AS $$
            DECLARE state text := 'done'; BEGIN
                BEGIN SET ROLE NONE; EXCEPTION WHEN OTHERS THEN state := SQLSTATE; END;
                PERFORM set_config('lock_timeout', '1', false);
                RETURN current_user || ' ' || state; END $$""")
        db.execute(f"SET ROLE {mallory}")
        db.execute("""CREATE FUNCTION mallory.take(n int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                PERFORM set_config('search_path', 'mallory', false), set_config('datestyle', 'German', false),
                    set_config('lock_timeout', '2', false), set_config('mallory.mark', 'left', false),
                    set_config('transaction_read_only', 'on', false), set_config('row_security', 'off', false),
                    pg_advisory_lock(n), pg_advisory_lock(17);
                RETURN eve.lent() || ' ' || current_user || ' ' || current_setting('search_path'); END $$;
            CREATE MATERIALIZED VIEW mallory.v WITH (kafka.continuous) AS
                SELECT n, mallory.take(n) AS who FROM clicks WHERE 10 / (n - 5) IS NOT NULL""")
        db.execute("RESET ROLE")
        db.execute("""CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$ SELECT concat_ws('|', current_user,
            current_setting('search_path'), current_setting('datestyle'), current_setting('lock_timeout'),
            current_setting('mallory.mark', true), current_setting('transaction_read_only'),
            current_setting('row_security')) $$""")
        db.view("w", "SELECT n, public.told() AS told FROM clicks")
        for first in range(0, 12, 4):
            produce(topic, [{"n": n} for n in range(first, first + 4)])
            db.wait_count("w", first + 4)
            db.wait("mallory.v")
        assert db.column("SELECT DISTINCT rtrim(told, '|') FROM w") == [
            "postgres|pg_catalog, pg_temp|ISO, MDY|500ms||off|on"]
        assert db.column("SELECT DISTINCT who FROM mallory.v") == ["eve 42501 mallory mallory"]
        assert db.column("SELECT n FROM mallory.v ORDER BY n") == [n for n in range(12) if n != 5]
        assert len(db.column("SELECT DISTINCT pid FROM kafka.workers")) == 1
        wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0, 10,
                   "locks are given back")
        db.execute("DROP MATERIALIZED VIEW mallory.v")


def test_options_are_never_sql(db, kafka, topic, produce):
    """Servers, patterns, headers by name, keys by path: whatever they are called is looked for as it is. Topics have
    no such names, and are refused by the table before anybody asks for them."""
    db.execute("CREATE TABLE vault (n int)")
    nasty = "x\"'); DROP TABLE vault; --\\ $$ %s%n"
    server = sql.Identifier(nasty)

    def run(statement, *literals):
        return sql.SQL(statement).format(server, *map(sql.Literal, literals))

    db.execute(run("CREATE SERVER {0} FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers {1})", kafka.bootstrap))
    db.execute(run("CREATE USER MAPPING FOR PUBLIC SERVER {0}"))
    for name in (nasty, "a\nb", "^" + topic, "../../etc/passwd", "t;--", "$$"):
        for act in (run("CREATE FOREIGN TABLE bad (n int) SERVER {0} OPTIONS (topic {1})", name),
                    run("SELECT * FROM kafka.sample({1}, {2}, 'json')", nasty, name)):
            refused = db.error(act)
            assert (refused.sqlstate, refused.diag.message_primary) == (
                "HV024", f'invalid value for option "topic": "{name}"'), (name, refused)
    db.execute(run("CREATE FOREIGN TABLE good (n int, h text OPTIONS (metadata {1}), k text OPTIONS (source 'key',"
                   " path {2})) SERVER {0} OPTIONS (topic_pattern {3}, key_format 'json')",
                   "header." + nasty, "$." + json.dumps(nasty), f"({topic}|{re.escape(nasty)}|.*'\\$\\$)"))
    db.view("v", "SELECT * FROM good")
    produce(topic, [{"record": {"value": {"n": 1}, "key": {nasty: nasty}, "headers": [(nasty, nasty.encode())]}}])
    db.wait_count("v", 1)
    assert db.rows("SELECT * FROM v") == db.rows("SELECT * FROM good") == [(1, nasty, nasty)]
    assert db.value("SELECT connected FROM kafka.check(%s)", [nasty])
    assert db.value("SELECT kafka.wait('v', %s, 0, 0, '10 ms')", [nasty]) is False
    db.execute("SELECT kafka.seek('v', %s)", [nasty + "/0:7"])
    assert db.value("SELECT next_offset FROM kafka.positions WHERE topic = %s", [nasty]) == 7
    assert db.value("SELECT to_regclass('public.vault')") == "vault"
