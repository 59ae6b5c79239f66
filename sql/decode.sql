-- kafka.decode: rows of a record without a broker. What each format takes stands in the formats' own
-- tests; here is what the function itself does.
\set VERBOSITY default
SET client_min_messages = warning;
SET bytea_output = escape;
SET timezone = 'UTC';
CREATE SCHEMA decode_test;
SET search_path = decode_test;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE FOREIGN TABLE clicks (
    user_id bigint, url text, at timestamptz, amount numeric,
    _partition int, _offset bigint, _timestamp timestamptz, _key text, _headers jsonb
) SERVER s OPTIONS (topic 'clicks', format 'json');

SELECT * FROM kafka.decode(NULL::clicks,
    '{"user_id": 1, "url": "/", "at": "2026-11-01T00:00:00Z", "amount": 1.50}'::bytea);
-- several rows, none, a tombstone
SELECT user_id FROM kafka.decode(NULL::clicks, '{"user_id": 1} {"user_id": 2}');
SELECT user_id FROM kafka.decode(NULL::clicks, '[{"user_id": 3}, {"user_id": "4"}]');
SELECT user_id FROM kafka.decode(NULL::clicks, '[]');
SELECT * FROM kafka.decode(NULL::clicks, NULL);
-- key and headers
SELECT user_id, _key, _headers FROM kafka.decode(NULL::clicks, '{"user_id": 5}', 'the key',
    '[{"name": "a", "value": "b"}, {"name": "a", "value": null},
      {"name": "c", "value": "AP8=", "base64": true}, {"name": "d"}]');
SELECT 1 FROM kafka.decode(NULL::clicks, '{}', NULL, '{"a": "b"}');
SELECT 1 FROM kafka.decode(NULL::clicks, '{}', NULL, '[1]');
SELECT 1 FROM kafka.decode(NULL::clicks, '{}', NULL, '[{"value": "b"}]');
SELECT 1 FROM kafka.decode(NULL::clicks, '{}', NULL, '[{"name": "a", "value": 1}]');
-- in the select list, from a row, laterally
SELECT kafka.decode(NULL::clicks, '{"user_id": 6}');
SELECT p, d.user_id
FROM (VALUES ('{"user_id": 7}'), ('[{"user_id": 8}, {"user_id": 9}]')) AS v (p),
     kafka.decode(NULL::clicks, p::bytea) AS d;

-- bad records: the reason and the column
SELECT * FROM kafka.decode(NULL::clicks, '{"user_id": 1.5}');
SELECT * FROM kafka.decode(NULL::clicks, '{"at": "yesterday-ish"}');
SELECT * FROM kafka.decode(NULL::clicks, convert_to('{"url": "\u0000"}', 'UTF8'));
SELECT * FROM kafka.decode(NULL::clicks, 'not json');
SELECT * FROM kafka.decode(NULL::clicks, '');

-- a table with _error has rows for them
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE FOREIGN TABLE judged (n int, p positive, r int4range, _key text, _raw bytea, _error text)
    SERVER s OPTIONS (topic 'judged', format 'json');
SELECT * FROM kafka.decode(NULL::judged, '{"n": 1, "p": 2, "r": "[1,2)"}', 'k');
SELECT * FROM kafka.decode(NULL::judged, '{"n": "x"}', 'k');
SELECT * FROM kafka.decode(NULL::judged, '{"n": 1, "p": -2}', 'k');
SELECT * FROM kafka.decode(NULL::judged, '{"n": 1, "r": "[2,1)"}', 'k');
SELECT * FROM kafka.decode(NULL::judged, '{"n": 1', 'k');
SELECT * FROM kafka.decode(NULL::judged, NULL, 'k');

-- column options, dropped columns, defaults of formats
CREATE FOREIGN TABLE shaped (
    gone int, deep int OPTIONS (path '$.a.b[1]'), whole jsonb OPTIONS (path '$'),
    id bigint OPTIONS (source 'key', path '$.id'), trace text OPTIONS (metadata 'header.trace'),
    moved text OPTIONS (metadata 'key')
) SERVER s OPTIONS (topic 'shaped', key_format 'json');
ALTER FOREIGN TABLE shaped DROP COLUMN gone;
ALTER FOREIGN TABLE shaped ADD COLUMN late timestamptz;
ALTER FOREIGN TABLE shaped OPTIONS (timestamp_unit 's');
SELECT * FROM kafka.decode(NULL::shaped, '{"a": {"b": [1, 2]}, "late": 1}', '{"id": 12}',
                           '[{"name": "trace", "value": "x"}]');
CREATE FOREIGN TABLE bytes (payload bytea, _tombstone boolean) SERVER s
    OPTIONS (topic 'bytes', format 'raw');
SELECT * FROM kafka.decode(NULL::bytes, '\x00ff');
SELECT * FROM kafka.decode(NULL::bytes, '');
SELECT * FROM kafka.decode(NULL::bytes, NULL);

-- a prepared statement takes the options as they are
PREPARE p AS SELECT * FROM kafka.decode(NULL::bytes, convert_to('\x41', 'UTF8'));
EXECUTE p;
ALTER FOREIGN TABLE bytes OPTIONS (SET format 'text');
EXECUTE p;
DEALLOCATE p;

-- what is not a topic table's row type
SELECT * FROM kafka.decode(NULL::int, '1');
CREATE TABLE plain (a int);
SELECT * FROM kafka.decode(NULL::plain, '{}');

-- anybody may decode: it reads no topic
CREATE ROLE decode_user;
GRANT USAGE ON SCHEMA decode_test TO decode_user;
SET ROLE decode_user;
SELECT user_id FROM kafka.decode(NULL::clicks, '{"user_id": 10}');
RESET ROLE;

DROP SCHEMA decode_test CASCADE;
DROP SERVER s CASCADE;
DROP ROLE decode_user;
