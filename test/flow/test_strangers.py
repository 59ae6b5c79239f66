"""What somebody without rights may try: nothing of ours runs his code as somebody else, or crashes."""

from database import Database

EVIL = "CREATE FUNCTION {schema}.evil() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN" \
       " INSERT INTO {schema}.caught VALUES (current_user); RETURN false; END $$"


def test_a_registry_of_a_strangers_own(cluster):
    """In a database without the extension the schema kafka is anybody's to make."""
    with Database(cluster, extension=False) as db, db.role() as role:
        db.execute(f"GRANT CREATE ON DATABASE {db.name} TO {role}")
        db.execute(f"SET ROLE {role}")
        db.execute("CREATE SCHEMA kafka; CREATE TABLE kafka.caught (who name)")
        db.execute(EVIL.format(schema="kafka"))
        db.execute("CREATE VIEW kafka.registry AS SELECT oid AS view FROM pg_class"
                   " WHERE kafka.evil()")
        for statement in ("CREATE MATERIALIZED VIEW kafka.m AS SELECT 1 AS a",
                          "REFRESH MATERIALIZED VIEW kafka.m",
                          "ALTER MATERIALIZED VIEW kafka.m RENAME TO n",
                          "DROP MATERIALIZED VIEW kafka.n"):
            db.execute(statement)
        assert db.column("SELECT DISTINCT who FROM kafka.caught") == []
        db.execute("RESET ROLE")


def test_a_secret_inside_a_function_stays_out_of_the_log(bare_cluster, bare_db):
    """Errors of statements that a function runs tell the statement as their context."""
    bare_db.execute("CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'a:1')")
    e = bare_db.error("DO $$ BEGIN EXECUTE 'CREATE USER MAPPING FOR PUBLIC SERVER s"
                      " OPTIONS (sasl_pasword ''hush-hush'')'; END $$")
    assert e.sqlstate == "HV00D"
    assert "hush-hush" not in bare_cluster.log_text()
