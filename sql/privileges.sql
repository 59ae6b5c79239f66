-- Who may make, change and read continuous views.
CREATE ROLE ke_owner;
CREATE ROLE ke_other;
CREATE ROLE ke_heir;
CREATE SCHEMA priv;
GRANT ALL ON SCHEMA priv TO ke_owner, ke_other, ke_heir;
SET search_path = priv;
CREATE SERVER priv_broker FOREIGN DATA WRAPPER kafka
    OPTIONS (bootstrap_servers '127.0.0.1:1', connect_timeout '100ms');
CREATE FOREIGN TABLE clicks (user_id bigint, url text) SERVER priv_broker OPTIONS (topic 'clicks', format 'json');
CREATE TABLE users (id bigint, name text);
CREATE TABLE target (user_id bigint, url text);

-- SELECT on everything the query reads, USAGE on the server, INSERT on the table fed.
SET ROLE ke_owner;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
RESET ROLE;
GRANT SELECT ON clicks TO ke_owner;
SET ROLE ke_owner;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER priv_broker TO ke_owner;
SET ROLE ke_owner;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT c.* FROM clicks c JOIN users u ON u.id = c.user_id;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT c.* FROM clicks c WHERE user_id IN (SELECT id FROM users);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.into = 'target') AS SELECT * FROM clicks;
RESET ROLE;
GRANT INSERT (user_id) ON target TO ke_owner;
SET ROLE ke_owner;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.into = 'target') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.into = 'target') AS SELECT user_id FROM clicks;
DROP MATERIALIZED VIEW v;
CREATE MATERIALIZED VIEW public.v WITH (kafka.continuous) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW kafka.v WITH (kafka.continuous) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.start = '0:1') AS SELECT * FROM clicks;
SELECT v.relowner::regrole, q.relowner::regrole FROM pg_class v, pg_class q
    WHERE v.oid = 'v'::regclass AND q.relname = 'q_v_' || v.oid;

-- Nothing of ours can be written by hand, or made in our schema.
UPDATE kafka.registry SET state = 'active';
DELETE FROM kafka.progress;
SELECT view, topic, partition, next_offset FROM kafka.positions;

-- The owner handles it; others do not.
SELECT kafka.resume('v');
SELECT kafka.pause('v');
SET ROLE ke_other;
SELECT kafka.pause('v');
SELECT kafka.resume('v');
SELECT kafka.seek('v', 'earliest');
ALTER MATERIALIZED VIEW v SET (kafka.batch_rows = 10);
ALTER MATERIALIZED VIEW v RENAME TO w;
DROP MATERIALIZED VIEW v;
SELECT * FROM v;
DO $$
DECLARE q text := 'kafka.' || quote_ident('q_v_' || 'v'::regclass::oid);
BEGIN
    EXECUTE 'SELECT * FROM ' || q;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'the hidden view is the owner''s alone';
END $$;
RESET ROLE;

-- A role that inherits from the owner may what the owner may.
GRANT ke_owner TO ke_heir;
SET ROLE ke_heir;
SELECT kafka.seek('v', '0:2');
RESET ROLE;

-- The hidden view follows the owner, by whichever words.
CREATE VIEW owners AS SELECT v.relowner::regrole AS view, q.relowner::regrole AS query
    FROM kafka.registry r JOIN pg_class v ON v.oid = r.view JOIN pg_class q ON q.oid = r.query;
ALTER MATERIALIZED VIEW v OWNER TO ke_other;
SELECT * FROM owners;
ALTER TABLE v OWNER TO ke_owner;
SELECT * FROM owners;
REASSIGN OWNED BY ke_owner TO ke_other;
SELECT * FROM owners;

-- A schema's owner may drop what is in it.
CREATE SCHEMA theirs AUTHORIZATION ke_owner;
ALTER MATERIALIZED VIEW v SET SCHEMA theirs;
SET ROLE ke_owner;
DROP MATERIALIZED VIEW theirs.v;
RESET ROLE;
SELECT count(*) FROM kafka.registry;

-- DROP OWNED.
SET ROLE ke_owner;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
RESET ROLE;
DROP OWNED BY ke_owner;
SELECT count(*) FROM kafka.registry;
SELECT count(*) FROM pg_class WHERE relname LIKE 'q\_%' AND relnamespace = 'kafka'::regnamespace;

SET client_min_messages = warning;
DROP SCHEMA priv CASCADE;
DROP SERVER priv_broker CASCADE;
DROP OWNED BY ke_owner, ke_other, ke_heir;
DROP ROLE ke_owner, ke_other, ke_heir;
