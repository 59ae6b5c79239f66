-- msgpack through kafka.decode and kafka.encode (test/flow/test_documents.py asks its library).
\set VERBOSITY default
SET client_min_messages = warning;
SET bytea_output = hex;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA format_msgpack;
SET search_path = format_msgpack;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE TYPE pair AS (x int, y text);
CREATE FOREIGN TABLE m (id bigint, t text, p pair, ints int[], at timestamptz, raw bytea, rest jsonb,
    deep int OPTIONS (path '$.rest.b[1]')) SERVER s
    OPTIONS (topic 't', format 'msgpack', timestamp_unit 's');
-- {"id": 1, "t": "x", "p": {"x": 2, "y": "z"}, "ints": [3, 4], "at": timestamp, "raw": bytes,
--  "rest": {"b": [5, 6]}}
SELECT * FROM kafka.decode(NULL::m, '\x87a2696401a174a178a17082a17802a179a17aa4696e7473920304'
    'a26174d6ff5a4af6a5a3726177c40200ffa47265737481a162920506'::bytea);
-- by position, and a number as a time
SELECT id, t, at FROM kafka.decode(NULL::m, '\x9501a178c0c0ce5a4af6a5');
-- two documents; an array of them; none
SELECT id FROM kafka.decode(NULL::m, '\x81a269640181a2696402');
SELECT id FROM kafka.decode(NULL::m, '\x9281a269640181a2696402');
SELECT id FROM kafka.decode(NULL::m, '\x81a26964cfffffffffffffffff');
SELECT id FROM kafka.decode(NULL::m, '\x81a26964');
SELECT id FROM kafka.decode(NULL::m, '');

ALTER FOREIGN TABLE m DROP COLUMN deep;
-- the way back: what is written is read as the same row
SELECT kafka.encode(m) AS payload,
    (SELECT again::text = m::text FROM kafka.decode(NULL::m, kafka.encode(m)) again) AS same
FROM kafka.decode(NULL::m, '\x87a2696401a174a178a17082a17802a179a17aa4696e7473920304'
    'a26174d6ff5a4af6a5a3726177c40200ffa47265737481a162920506'::bytea) m;

CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'msgpack', delimiter ';');

DROP SCHEMA format_msgpack CASCADE;
DROP SERVER s CASCADE;
