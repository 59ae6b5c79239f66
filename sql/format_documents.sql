-- msgpack, cbor and influx through kafka.decode (test/flow/test_documents.py asks the libraries of the
-- first two).
\set VERBOSITY default
SET client_min_messages = warning;
SET bytea_output = hex;
SET timezone = 'UTC';
CREATE SCHEMA format_documents;
SET search_path = format_documents;
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

CREATE FOREIGN TABLE c (id bigint, n numeric, f real, u uuid, doc jsonb OPTIONS (path '$')) SERVER s
    OPTIONS (topic 't', format 'cbor');
-- {"id": -7, "n": 4([-2, 27315]), "f": 1.5, "u": 37(...)}
SELECT * FROM kafka.decode(NULL::c, '\xa462696426616ec48221196ab36166f93e006175d8255000112233445566778899aabbccddeeff');
SELECT id, n FROM kafka.decode(NULL::c, '\xbf6269640a616ec249010000000000000000ff');
SELECT id FROM kafka.decode(NULL::c, '\xa1626964ff');
CREATE FOREIGN TABLE whole (doc jsonb OPTIONS (path '$')) SERVER s OPTIONS (topic 't', format 'cbor');
SELECT * FROM kafka.decode(NULL::whole, '\x8301820203f6');

CREATE FOREIGN TABLE i (measurement text, host text OPTIONS (path 'tag.host'), load real, n int,
    time timestamptz, tags jsonb OPTIONS (path '$.tags')) SERVER s OPTIONS (topic 't', format 'influx');
SELECT * FROM kafka.decode(NULL::i,
    E'cpu,host=a\\\\,b,dc=x load=0.5,n=3i 1500000000123456789\n# none\nmem load=2,host="field"');
SELECT * FROM kafka.decode(NULL::i, 'cpu n=3000000000i');
SELECT * FROM kafka.decode(NULL::i, 'cpu n=');

CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'cbor', timestamp_unit 'min');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'msgpack', delimiter ';');

DROP SCHEMA format_documents CASCADE;
DROP SERVER s CASCADE;
