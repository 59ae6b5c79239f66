-- Continuous views as objects: made, changed, dropped, rolled back. No broker is needed.
CREATE SCHEMA ddl;
SET search_path = ddl;
CREATE SERVER ddl_broker FOREIGN DATA WRAPPER kafka
    OPTIONS (bootstrap_servers '127.0.0.1:1', connect_timeout '100ms');
CREATE FOREIGN TABLE clicks (user_id bigint, url text, amount numeric)
    SERVER ddl_broker OPTIONS (topic 'clicks', format 'json');
CREATE TABLE users (id bigint PRIMARY KEY, name text);
-- What we keep about the views of this schema, without names that hold OIDs.
CREATE VIEW registered AS
    SELECT r.view, r.topic_table, r.target, r.state, r.reason, r.start, r.options, r.target_columns
    FROM kafka.registry r JOIN pg_class c ON c.oid = r.view WHERE c.relnamespace = 'ddl'::regnamespace;
CREATE VIEW leftovers AS
    SELECT (SELECT count(*) FROM kafka.registry) AS registered,
           (SELECT count(*) FROM kafka.progress) AS progress,
           (SELECT count(*) FROM kafka.state_log) AS log,
           (SELECT count(*) FROM pg_class WHERE relnamespace = 'kafka'::regnamespace
            AND relname LIKE 'q\_%' AND relkind = 'v') AS hidden;

-- A table with the query's columns; storage options, column list, start and options are kept.
SET TimeZone = 'Asia/Tokyo';
CREATE MATERIALIZED VIEW v (id, who, money) WITH (kafka.continuous, kafka.paused, fillfactor = 50,
    toast.autovacuum_enabled = false, kafka.start = '0:100,1:250', kafka.batch_rows = 1000,
    kafka.flush_interval = '5ms', kafka.on_error = skip) TABLESPACE pg_default
    AS SELECT c.user_id, u.name, c.amount::numeric(10,2) FROM clicks c JOIN users u ON u.id = c.user_id;
RESET TimeZone;
\d v
SELECT relkind, reloptions FROM pg_class WHERE oid = 'v'::regclass;
SELECT * FROM registered;
SELECT settings FROM kafka.registry WHERE view = 'v'::regclass;
SELECT pg_get_viewdef(query) FROM kafka.registry WHERE view = 'v'::regclass;
SELECT view, topic, partition, next_offset FROM kafka.positions WHERE view = 'v'::regclass;
SELECT view, state, reason FROM kafka.state_log WHERE view = 'v'::regclass;

-- It is a table like another.
CREATE UNIQUE INDEX v_id ON v (id);
INSERT INTO v VALUES (1, 'a', 2);
TRUNCATE v;
ALTER TABLE v ADD COLUMN extra int DEFAULT 7;
ALTER TABLE v DROP COLUMN extra;
ALTER TABLE v ADD CHECK (money > 0);
ALTER TABLE v ALTER COLUMN money TYPE numeric;

-- The words of MATERIALIZED VIEW.
ALTER MATERIALIZED VIEW v RENAME TO w;
ALTER MATERIALIZED VIEW w RENAME COLUMN money TO amount;
ALTER MATERIALIZED VIEW w ALTER COLUMN who SET STATISTICS 10;
ALTER MATERIALIZED VIEW w SET (fillfactor = 60);
ALTER MATERIALIZED VIEW w RESET (fillfactor);
ALTER MATERIALIZED VIEW w SET TABLESPACE pg_default;
ALTER MATERIALIZED VIEW w SET ACCESS METHOD heap;
ALTER MATERIALIZED VIEW w CLUSTER ON v_id;
COMMENT ON MATERIALIZED VIEW w IS 'clicks with names';
SELECT obj_description('w'::regclass);
CREATE SCHEMA ddl_other;
ALTER MATERIALIZED VIEW w SET SCHEMA ddl_other;
ALTER MATERIALIZED VIEW ddl_other.w SET SCHEMA ddl;
ALTER MATERIALIZED VIEW IF EXISTS nowhere RENAME TO w;
SELECT * FROM registered;

-- Options, live; mixed with the table's own.
ALTER MATERIALIZED VIEW w SET (kafka.batch_rows = 10, fillfactor = 70, kafka.group_id = 'g');
SELECT options FROM registered;
ALTER MATERIALIZED VIEW w RESET (kafka.batch_rows, fillfactor);
SELECT options FROM registered;
SELECT reloptions FROM pg_class WHERE oid = 'w'::regclass;

-- Pause, resume, seek: transactional, each with a line in the log.
SELECT kafka.resume('w');
BEGIN;
SELECT kafka.pause('w');
ROLLBACK;
SELECT state FROM registered;
SELECT kafka.pause('w');
SELECT kafka.pause('w');
SELECT kafka.seek('w', '1:7, 5:9');
SELECT topic, partition, next_offset FROM kafka.positions WHERE view = 'w'::regclass;
BEGIN;
SELECT kafka.seek('w', 'earliest');
SELECT count(*) FROM kafka.positions WHERE view = 'w'::regclass;
ROLLBACK;
SELECT count(*) FROM kafka.positions WHERE view = 'w'::regclass;
SELECT state, reason FROM kafka.state_log WHERE view = 'w'::regclass AND by = current_user ORDER BY at;

-- The topic table cannot go alone; with CASCADE everything goes.
\set VERBOSITY terse
DROP FOREIGN TABLE clicks;
DROP TABLE users;
BEGIN;
DROP FOREIGN TABLE clicks CASCADE;
SELECT * FROM leftovers;
ROLLBACK;
BEGIN;
DROP SERVER ddl_broker CASCADE;
SELECT * FROM leftovers;
ROLLBACK;
\set VERBOSITY default

-- Every way to drop.
DROP MATERIALIZED VIEW w;
SELECT * FROM leftovers;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
DROP TABLE v;
SELECT * FROM leftovers;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW real AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW on_v AS SELECT * FROM v;
DROP MATERIALIZED VIEW v;
DROP MATERIALIZED VIEW real, v, on_v;
SELECT * FROM leftovers;
DROP MATERIALIZED VIEW IF EXISTS v, nowhere;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
CREATE VIEW on_v AS SELECT * FROM v;
DROP MATERIALIZED VIEW IF EXISTS v, nowhere CASCADE;
SELECT * FROM leftovers;
CREATE MATERIALIZED VIEW ddl_other.v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
DROP SCHEMA ddl_other CASCADE;
SELECT * FROM leftovers;

-- A rollback leaves nothing; a savepoint's neither.
BEGIN;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM clicks;
ROLLBACK;
SELECT * FROM leftovers;
BEGIN;
SAVEPOINT s;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM clicks;
ROLLBACK TO s;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks;
DROP MATERIALIZED VIEW v;
COMMIT;
SELECT * FROM leftovers;

-- WITH NO DATA is paused; IF NOT EXISTS; the topic table's own default for start.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM clicks WITH NO DATA;
CREATE MATERIALIZED VIEW IF NOT EXISTS v WITH (kafka.continuous) AS SELECT * FROM clicks;
ALTER FOREIGN TABLE clicks OPTIONS (ADD start '3:30');
CREATE MATERIALIZED VIEW v2 WITH (kafka.continuous, kafka.paused) AS SELECT url FROM clicks;
SELECT view, state, reason, start FROM registered ORDER BY 1;
DROP MATERIALIZED VIEW v, v2;
ALTER FOREIGN TABLE clicks OPTIONS (DROP start);

-- Prepared statements and functions run it again and again.
CREATE FUNCTION make_and_drop() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT url FROM clicks;
    DROP MATERIALIZED VIEW v;
END $$;
SELECT make_and_drop(), make_and_drop();
SELECT make_and_drop();
CREATE FUNCTION make_in_sql() RETURNS void LANGUAGE sql AS
    'CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT url FROM clicks';
SELECT make_in_sql();
ALTER MATERIALIZED VIEW v RENAME TO v1;
SELECT make_in_sql();
SELECT view, state FROM registered ORDER BY 1;
DROP MATERIALIZED VIEW v, v1;

-- kafka.create_view
SELECT kafka.create_view('ddl."My view"', 'SELECT url FROM clicks WHERE user_id > 0',
    '{"paused": true, "batch_rows": 100, "start": "0:5"}');
SELECT view, state, options FROM registered;
SELECT topic, partition, next_offset FROM kafka.positions WHERE view = '"My view"'::regclass;
DROP MATERIALIZED VIEW "My view";

-- kafka.into: v is a view on the table fed; the table stays.
CREATE TABLE target (id int, dropped int, url varchar(20), amount numeric, note text DEFAULT 'x');
ALTER TABLE target DROP COLUMN dropped;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.into = 'ddl.target')
    AS SELECT url, user_id AS id FROM clicks;
\d+ v
SELECT * FROM registered;
ALTER TABLE target RENAME COLUMN url TO address;
ALTER TABLE target DROP COLUMN amount;
ALTER TABLE target DROP COLUMN note CASCADE;
\set VERBOSITY terse
ALTER TABLE target DROP COLUMN id;
BEGIN;
ALTER TABLE target DROP COLUMN id CASCADE;
SELECT * FROM leftovers;
ROLLBACK;
\set VERBOSITY default
ALTER TABLE target SET UNLOGGED;
ALTER MATERIALIZED VIEW v RENAME TO v_into;
COMMENT ON MATERIALIZED VIEW v_into IS 'into';
SELECT view, target FROM registered;
DROP MATERIALIZED VIEW v_into;
SELECT * FROM leftovers;
CREATE TABLE parted (user_id bigint, url text) PARTITION BY RANGE (user_id);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.into = parted)
    AS SELECT user_id, url FROM clicks;
CREATE UNLOGGED TABLE part_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
ALTER TABLE part_1 SET UNLOGGED;
CREATE TABLE part_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
DROP TABLE parted;
DROP TABLE parted CASCADE;
SELECT * FROM leftovers;

-- Event triggers of users see the statement.
CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE d record;
BEGIN
    IF tg_event = 'ddl_command_end' THEN
        FOR d IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
            RAISE NOTICE '% % %', tg_event, tg_tag, d.object_identity;
        END LOOP;
    ELSE
        FOR d IN SELECT * FROM pg_event_trigger_dropped_objects() WHERE object_type IN ('table', 'view') LOOP
            RAISE NOTICE '% % %', tg_event, tg_tag, d.object_identity;
        END LOOP;
    END IF;
END $$;
CREATE EVENT TRIGGER seen_end ON ddl_command_end EXECUTE FUNCTION seen();
CREATE EVENT TRIGGER seen_drop ON sql_drop EXECUTE FUNCTION seen();
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT url FROM clicks;
ALTER MATERIALIZED VIEW v RENAME TO w;
DROP MATERIALIZED VIEW w;
DROP EVENT TRIGGER seen_end;
DROP EVENT TRIGGER seen_drop;

-- DROP EXTENSION takes the views along, and leaves fed tables.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT url FROM clicks;
CREATE MATERIALIZED VIEW v_into WITH (kafka.continuous, kafka.paused, kafka.into = 'target') AS SELECT user_id AS id FROM clicks;
\set VERBOSITY terse
DROP EXTENSION kafka_engine;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION kafka_engine CASCADE;
SELECT relname FROM pg_class WHERE relnamespace = 'ddl'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;
ROLLBACK;
\set VERBOSITY default
SELECT view, state FROM registered ORDER BY 1;

SET client_min_messages = warning;
DROP SCHEMA ddl CASCADE;
DROP SERVER ddl_broker CASCADE;
SELECT count(*) FROM kafka.registry;
