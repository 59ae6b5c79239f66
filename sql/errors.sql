-- What is refused about continuous views, with what words.
CREATE SCHEMA errors;
SET search_path = errors;
CREATE SERVER errors_broker FOREIGN DATA WRAPPER kafka
    OPTIONS (bootstrap_servers '127.0.0.1:1', connect_timeout '100ms');
CREATE FOREIGN TABLE clicks (user_id bigint, url text) SERVER errors_broker OPTIONS (topic 'clicks', format 'json');
CREATE FOREIGN TABLE several (user_id bigint) SERVER errors_broker OPTIONS (topic 'clicks, orders', format 'json');
CREATE FOREIGN TABLE narrow (user_id bigint) SERVER errors_broker OPTIONS (topic 'clicks', format 'json', partitions '0-3,8');

-- The WITH list.
CREATE MATERIALIZED VIEW v WITH (kafka.start = 'latest') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous = false) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous = maybe) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.nonsense = 1) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.paused = off) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, nonsense = 1) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, other.nonsense = 1) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.batch_rows = 0) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.batch_rows = 1.5) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.batch_bytes = '16XB') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.flush_interval = '-1ms') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.synchronous_commit = 'sometimes') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.on_gap = 'jump') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.on_error = 'shrug') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.max_errors_in_a_row = 0) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.max_dead_letters = 'many') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.group_id = '') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.dead_letter_topic = 'a topic') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.dead_letter_topic = 'x', kafka.on_error = 'stop') AS SELECT * FROM clicks;

-- Starts.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = 'soon') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = ' ') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = '0:') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = '0:1,0:2') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = '0:99999999999999999999') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = 'infinity') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = 'orders/0:1') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = '0:1') AS SELECT * FROM several;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.start = '4:1') AS SELECT * FROM narrow;

-- Tables to feed.
CREATE TABLE target (user_id bigint, url text, made int GENERATED ALWAYS AS (1) STORED);
CREATE UNLOGGED TABLE unlogged (user_id bigint, url text);
CREATE TEMP TABLE temporary (user_id bigint, url text);
CREATE VIEW a_view AS SELECT * FROM target;
CREATE MATERIALIZED VIEW a_matview AS SELECT 1::bigint AS user_id, ''::text AS url;
CREATE TABLE parted (user_id bigint, url text) PARTITION BY RANGE (user_id);
CREATE UNLOGGED TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'nowhere') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'unlogged') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'temporary') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'a_view') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'a_matview') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'clicks') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'parted') AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'pg_catalog.pg_class') AS SELECT url AS relname FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'kafka.gap_log') AS SELECT url AS topic FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'target') AS SELECT user_id AS id FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'target') AS SELECT url AS user_id FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'target') AS SELECT user_id, 2 AS made FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'target') AS SELECT url, url FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'target') AS SELECT t.ctid FROM target t, clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.into = 'target', fillfactor = 50) AS SELECT * FROM clicks;

-- Names that are taken; EXPLAIN; REFRESH.
CREATE MATERIALIZED VIEW target WITH (kafka.continuous) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW IF NOT EXISTS target WITH (kafka.continuous) AS SELECT * FROM clicks;
EXPLAIN CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT * FROM clicks;
REFRESH MATERIALIZED VIEW v WITH NO DATA;
REFRESH MATERIALIZED VIEW CONCURRENTLY v;

-- ALTER.
ALTER MATERIALIZED VIEW v SET (kafka.start = 'latest');
ALTER MATERIALIZED VIEW v SET (kafka.paused = false);
ALTER MATERIALIZED VIEW v SET (kafka.into = 'target');
ALTER MATERIALIZED VIEW v SET (kafka.continuous = false);
ALTER MATERIALIZED VIEW v SET (kafka.nonsense = 1);
ALTER MATERIALIZED VIEW v RESET (kafka.nonsense);
ALTER MATERIALIZED VIEW v SET (kafka.batch_rows = 'many');
ALTER TABLE target SET (kafka.batch_rows = 10);
ALTER MATERIALIZED VIEW a_matview SET (kafka.batch_rows = 10);
ALTER MATERIALIZED VIEW nowhere SET (kafka.batch_rows = 10);
ALTER MATERIALIZED VIEW IF EXISTS nowhere SET (kafka.batch_rows = 10);
ALTER TABLE v SET UNLOGGED;
ALTER TABLE v DROP COLUMN url;
ALTER TABLE v ALTER COLUMN user_id TYPE date USING now();
ALTER TABLE v ALTER COLUMN user_id SET NOT NULL, ALTER COLUMN user_id ADD GENERATED ALWAYS AS IDENTITY;

-- Functions.
SELECT kafka.pause('target');
SELECT kafka.resume(0);
SELECT kafka.seek('v', 'soon');
SELECT kafka.create_view('w', 'SELECT 1; SELECT 2');
SELECT kafka.create_view('w', 'DELETE FROM target');
SELECT kafka.create_view('w', 'SELECT * FROM clicks', '[]');
SELECT kafka.create_view('w', 'SELECT * FROM clicks', '{"nonsense": 1}');
SELECT kafka.create_view('w', 'SELECT 1 AS one');
SELECT kafka.on_drop();

-- A matview is not one of ours, and a table is no matview.
DROP MATERIALIZED VIEW v, target;
DROP MATERIALIZED VIEW v, nowhere;

SET client_min_messages = warning;
DROP SCHEMA errors CASCADE;
DROP SERVER errors_broker CASCADE;
