-- Plans of topic scans: which conditions are pushed into the fetch. No broker is needed for a plan.
CREATE SERVER nowhere FOREIGN DATA WRAPPER kafka
    OPTIONS (bootstrap_servers 'localhost:1', connect_timeout '100ms');
CREATE FOREIGN TABLE clicks (
    user_id bigint, url text, at timestamptz, amount numeric,
    _topic text, _partition int, _offset bigint, _timestamp timestamptz
) SERVER nowhere OPTIONS (topic 'clicks', format 'json');
-- Roles count, not names.
CREATE FOREIGN TABLE renamed (
    part int OPTIONS (metadata 'partition'), pos bigint OPTIONS (metadata 'offset'), v text
) SERVER nowhere OPTIONS (topic 'clicks, visits', format 'json');

-- Output without the names of the test's objects around it.
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query;
END $$;

-- Comparisons of each column, in every direction and with every integer type
SELECT plan('SELECT * FROM clicks');
SELECT plan('SELECT * FROM clicks WHERE _partition = 3');
SELECT plan('SELECT * FROM clicks WHERE 3::bigint = _partition');
SELECT plan('SELECT * FROM clicks WHERE _offset BETWEEN 10 AND 20 AND _partition IN (1, 2, 3, 7)');
SELECT plan('SELECT * FROM clicks WHERE 100 > _offset AND _offset >= 5::smallint');
SELECT plan('SELECT * FROM clicks WHERE _offset <> 17');
SELECT plan('SELECT * FROM clicks WHERE _offset <> ALL (ARRAY[3, 5])');
SELECT plan($$SELECT * FROM clicks WHERE _timestamp >= '2026-01-01 00:00+00'$$);
SELECT plan($$SELECT * FROM clicks WHERE _timestamp > now() - interval '5 min' LIMIT 10$$);
SELECT plan($$SELECT * FROM clicks WHERE _timestamp > DATE '2026-01-01'$$);
SELECT plan($$SELECT * FROM clicks WHERE _topic = 'clicks'$$);
SELECT plan('SELECT v FROM renamed WHERE part = 1 AND pos < 100');

-- AND and OR: an arm that cannot be pushed widens
SELECT plan('SELECT * FROM clicks WHERE (_partition = 1 AND _offset < 5) OR (_partition = 2 AND _offset > 9)');
SELECT plan('SELECT * FROM clicks WHERE _partition = 1 OR user_id = 1');
SELECT plan('SELECT * FROM clicks WHERE (_partition = 1 AND user_id = 1) OR _partition = 2');
SELECT plan('SELECT * FROM clicks WHERE NOT (_partition = 1 OR _offset < 5)');

-- What looks alike and is not pushed
SELECT plan('SELECT * FROM clicks WHERE _partition + 1 = 3');
SELECT plan('SELECT * FROM clicks WHERE _offset = user_id');
SELECT plan('SELECT * FROM clicks WHERE _partition = _offset');
SELECT plan('SELECT * FROM clicks WHERE _offset = 1.5');
SELECT plan('SELECT * FROM clicks WHERE _offset = (random() * 10)::int');
SELECT plan('SELECT * FROM clicks WHERE _offset IS NULL');

-- Values without sense
SELECT plan('SELECT * FROM clicks WHERE _offset < 0');
SELECT plan('SELECT * FROM clicks WHERE _partition = 4000000000');
SELECT plan('SELECT * FROM clicks WHERE _offset > 20 AND _offset < 10');
SELECT plan('SELECT * FROM clicks WHERE _partition = ANY (NULL::int[])');
SELECT plan('SELECT * FROM clicks WHERE _offset = 9223372036854775807');
SELECT plan('SELECT * FROM clicks WHERE _offset > 9223372036854775807');

-- Parameters of statements and of subqueries, outer rows
PREPARE by_offset(bigint) AS SELECT * FROM clicks WHERE _offset >= $1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE by_offset(5);
RESET plan_cache_mode;
SELECT plan('SELECT * FROM clicks WHERE _offset > (SELECT 5)');
SELECT plan($$SELECT (SELECT url FROM clicks WHERE _partition = 0 AND _offset = n) FROM generate_series(1, 3) n$$);
CREATE TABLE small (p int, o bigint);
INSERT INTO small VALUES (0, 1);
ANALYZE small;
SELECT plan('SELECT url FROM small JOIN clicks ON _partition = p AND _offset = o');
SELECT plan('SELECT url FROM small, LATERAL (SELECT url FROM clicks WHERE _offset BETWEEN o AND o + 5 LIMIT 1) c');

-- Writing
INSERT INTO clicks (user_id) VALUES (1);
UPDATE clicks SET user_id = 1;
DELETE FROM clicks;
COPY clicks (user_id) FROM stdin;
\.
TRUNCATE clicks;

-- Reading: nobody is there, unless no record can pass
SELECT * FROM clicks WHERE _offset < 0;
SELECT count(*) FROM clicks WHERE _partition = ANY ('{}'::int[]);
SELECT * FROM clicks WHERE _offset > 20 AND _offset < 10;
\set VERBOSITY sqlstate
SELECT * FROM clicks;
ANALYZE clicks;
\set VERBOSITY default

DROP TABLE small;
DROP FUNCTION plan(text);
DROP SERVER nowhere CASCADE;
