-- Views that aggregate, and views with a key: what they make, and what is refused.
CREATE SCHEMA merging;
SET search_path = merging;
CREATE SERVER merging_broker FOREIGN DATA WRAPPER kafka
    OPTIONS (bootstrap_servers '127.0.0.1:1', connect_timeout '100ms');
CREATE FOREIGN TABLE clicks (user_id bigint, url text, n int, x float8, j json, _partition int,
    _tombstone boolean) SERVER merging_broker OPTIONS (topic 'clicks', format 'json');
CREATE TABLE users (id bigint PRIMARY KEY, name text);
CREATE FUNCTION shown(view regclass) RETURNS TABLE (part text, definition text) LANGUAGE sql AS $$
    SELECT 'a batch', pg_get_viewdef(query) FROM kafka.registry r WHERE r.view = shown.view
    UNION ALL
    SELECT CASE relkind WHEN 'v' THEN 'the view' ELSE 'a table' END, pg_get_viewdef(oid)
    FROM pg_class WHERE oid = shown.view
    UNION ALL
    SELECT 'index', regexp_replace(pg_get_indexdef(indexrelid), '^.* USING', 'USING')
    FROM pg_index i, kafka.registry r WHERE r.view = shown.view AND i.indrelid = r.target $$;

-- Stored as it is: the view is the table.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS
    SELECT url, count(*) AS n, sum(n), max(x) AS most FROM clicks GROUP BY url;
\d v
SELECT * FROM shown('v');
DROP MATERIALIZED VIEW v;
-- No groups: one row, there from the start.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS SELECT count(*), sum(n) FROM clicks;
SELECT * FROM shown('v');
SELECT * FROM v;
DROP MATERIALIZED VIEW v;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS
    SELECT count(*) + 1 AS more, corr(x, n), avg(n) FROM clicks;
SELECT * FROM shown('v');
SELECT * FROM v;
DROP MATERIALIZED VIEW v;
-- Finished on the way to the reader.
CREATE MATERIALIZED VIEW v (address, mean, spread, slope) WITH (kafka.continuous, kafka.paused) AS
    SELECT lower(url), avg(n), stddev(n) FILTER (WHERE n > 0), regr_slope(x, n)
    FROM clicks GROUP BY lower(url), user_id HAVING count(n) > 3;
\d v
SELECT * FROM shown('v');
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'kafka'::regnamespace
    AND relname ~ '^s_' AND relkind <> 't' ORDER BY 1;
DROP MATERIALIZED VIEW v;
SELECT count(*) FROM pg_class WHERE relnamespace = 'kafka'::regnamespace AND relname ~ '^[qs]_';
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS
    SELECT u.id, u.name, count(*) FROM clicks c JOIN users u ON u.id = c.user_id GROUP BY u.id;
SELECT * FROM shown('v');
DROP MATERIALIZED VIEW v;
CREATE AGGREGATE product(float8) (sfunc = float8mul, stype = float8, combinefunc = float8mul, initcond = 1);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS
    SELECT product(x) FROM clicks;
SELECT * FROM v;
\set VERBOSITY terse
DROP AGGREGATE product(float8);
\set VERBOSITY default
DROP MATERIALIZED VIEW v;

-- Keys.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.key = 'user_id',
    kafka.on_conflict = 'update', kafka.delete_when = '_tombstone OR n < 0') AS
    SELECT user_id, url, x * 2 AS n FROM clicks;
\d v
SELECT * FROM shown('v');
SELECT options FROM kafka.views WHERE view = 'v'::regclass;
DROP MATERIALIZED VIEW v;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.key = 'u, "a B"',
    kafka.on_conflict = 'nothing') AS SELECT s.user_id AS u, s.url AS "a B" FROM
    (SELECT * FROM clicks WHERE n > 0) s;
SELECT * FROM shown('v');
DROP MATERIALIZED VIEW v;
CREATE TABLE t (id bigint NOT NULL, url text NOT NULL, UNIQUE (url, id));
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.into = 't', kafka.key = 'id, url',
    kafka.on_conflict = 'update') AS SELECT user_id AS id, url FROM clicks;
SELECT * FROM shown('v');
DROP MATERIALIZED VIEW v;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.into = 't', kafka.key = 'id',
    kafka.on_conflict = 'update') AS SELECT user_id AS id, url FROM clicks;
SELECT * FROM shown('v');
DROP MATERIALIZED VIEW v;

-- What cannot be kept.
\set make 'CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS'
:make SELECT count(DISTINCT url) FROM clicks;
:make SELECT string_agg(url, ',' ORDER BY n) FROM clicks;
:make SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM clicks;
:make SELECT json_agg(url) FROM clicks;
:make SELECT mode() WITHIN GROUP (ORDER BY url) FROM clicks;
:make SELECT url, count(*) FROM clicks GROUP BY ROLLUP (url);
:make SELECT (random() * 10)::int AS r, count(*) FROM clicks GROUP BY 1;
:make SELECT x::text::xid AS g, count(*) FROM clicks GROUP BY 1;
:make SELECT url, count(*), (SELECT name FROM users WHERE id = count(*)) FROM clicks GROUP BY url;
:make SELECT url, sum(count(*)) OVER () FROM clicks GROUP BY url;
:make SELECT url, count(*) FROM clicks GROUP BY url ORDER BY 2 DESC LIMIT 10;
:make SELECT url, count(*) FROM clicks GROUP BY url ORDER BY 2;
:make SELECT max(n) FROM (SELECT url, count(*) AS n FROM clicks GROUP BY url) s;
:make SELECT 1 AS one FROM clicks HAVING true;
:make SELECT DISTINCT ON (url) url, n FROM clicks;
:make SELECT url, GROUPING(url) FROM clicks GROUP BY url;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, fillfactor = 50) AS SELECT avg(n) FROM clicks;

-- Options that do not go together.
\set make 'CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.'
:make on_conflict = 'update') AS SELECT url FROM clicks;
:make delete_when = '_tombstone') AS SELECT url FROM clicks;
:make key = 'nothing') AS SELECT url FROM clicks;
:make key = 'url,') AS SELECT url FROM clicks;
:make key = 'url', kafka.on_conflict = 'upsert') AS SELECT url FROM clicks;
:make key = 'url', kafka.on_conflict = 'merge') AS SELECT url FROM clicks;
:make key = 'url', kafka.on_conflict = 'error', kafka.delete_when = '_tombstone') AS SELECT url FROM clicks;
:make key = 'url', kafka.delete_when = 'nowhere') AS SELECT url FROM clicks;
:make key = 'url', kafka.delete_when = 'n') AS SELECT url FROM clicks;
:make key = 'url', kafka.delete_when = 'n > 0, true') AS SELECT url FROM clicks;
:make key = 'url', kafka.delete_when = 'random() > 0.5') AS SELECT url FROM clicks;
:make key = 'url', kafka.delete_when = 'n > (SELECT 1)') AS SELECT url FROM clicks;
:make key = 'url', kafka.delete_when = 'count(*) > 1') AS SELECT url FROM clicks;
:make key = 'url', kafka.delete_when = 'true)::text::int::bool or (true') AS SELECT url FROM clicks;
:make key = 'url', kafka.on_conflict = 'update') AS WITH c AS (SELECT url FROM clicks) SELECT url FROM c;
:make key = 'url') AS SELECT url, count(*) FROM clicks GROUP BY url;
:make on_conflict = 'update') AS SELECT url, count(*) FROM clicks GROUP BY url;
:make delete_when = '_tombstone') AS SELECT url, count(*) FROM clicks GROUP BY url;
:make into = 't', kafka.key = 'url', kafka.on_conflict = 'update') AS SELECT url, user_id FROM clicks;
ALTER TABLE t ALTER url DROP NOT NULL;
:make into = 't', kafka.key = 'url', kafka.on_conflict = 'update') AS SELECT url FROM clicks;
:make into = 't') AS SELECT url, avg(n) AS id FROM clicks GROUP BY url;
:make into = 't') AS SELECT count(*) AS id FROM clicks;
:make into = 'kafka.progress') AS SELECT url FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused, kafka.key = 'url') AS SELECT url FROM clicks;
ALTER MATERIALIZED VIEW v SET (kafka.key = 'n');
ALTER MATERIALIZED VIEW v RESET (kafka.on_conflict);

-- States are nobody's to make, and only their own aggregate's.
CREATE TABLE kept AS SELECT kafka.partial('corr(float8,float8)', g::float8, (g * g)::float8) AS s FROM generate_series(1, 9) g;
SELECT kafka.final('corr(float8,float8)', s, NULL::float8) = (SELECT corr(g, g * g) FROM
    generate_series(1, 9) g) AS same FROM kept;
SELECT abs(kafka.final('corr(float8,float8)', kafka.combine('corr(float8,float8)', s, s), NULL::float8) -
    (SELECT corr(g, g * g) FROM generate_series(1, 9) g, generate_series(1, 2))) < 1e-12 AS same FROM kept;
SELECT kafka.final('corr(float8,float8)', NULL, NULL::float8);
SELECT kafka.final('regr_slope(float8,float8)', s, NULL::float8) FROM kept;
SELECT kafka.final('corr(float8,float8)', s, NULL::text) FROM kept;
SELECT kafka.final('lower(text)', s, NULL::text) FROM kept;
SELECT kafka.final('json_agg(anyelement)', s, NULL::json) FROM kept;
SELECT kafka.partial('corr(float8,float8)', 1.0::float8);
SELECT kafka.partial('corr(float8,float8)', 1, 2);
CREATE ROLE merging_user;
GRANT USAGE ON SCHEMA merging TO merging_user;
CREATE AGGREGATE secret(int) (sfunc = int4pl, stype = int, combinefunc = int4pl);
REVOKE EXECUTE ON FUNCTION secret(int) FROM PUBLIC;
SET ROLE merging_user;
SELECT kafka.final('secret(int)', NULL, NULL::int);
SELECT '\x00'::kafka.state;
RESET ROLE;
SELECT kafka.final('corr(float8,float8)', '\x00'::kafka.state, NULL::float8);
REVOKE USAGE ON SCHEMA merging FROM merging_user;
DROP ROLE merging_user;

SET client_min_messages = warning;
DROP SCHEMA merging CASCADE;
DROP SERVER merging_broker CASCADE;
