-- json, json_schema, raw and text through kafka.decode and kafka.encode; decode.sql has more of the first.
\set VERBOSITY default
SET client_min_messages = warning;
SET bytea_output = hex;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA format_json;
SET search_path = format_json;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE TYPE place AS (x float8, name text);
CREATE FOREIGN TABLE j (id bigint, name text, amount numeric, "on" date, at timestamptz, ok boolean, raw bytea,
    tags text[], place place, deep int OPTIONS (path '$.a.b'), doc jsonb) SERVER s OPTIONS (topic 't');
SELECT * FROM kafka.decode(NULL::j, convert_to('{"id": "9007199254740993", "name": "\u00e4\"", "amount": 1.50, "on": "2026-11-21",
    "at": "2026-11-21T01:02:03.000004Z", "ok": true, "raw": "AP8=", "tags": ["a", null], "place": {"x": 1.5, "name": "m"},
    "a": {"b": 7}, "doc": {"z": [1, {}]}}', 'UTF8'));

-- the way back: what is written is read as the same row
SELECT convert_from(kafka.encode(j), 'UTF8') AS payload,
    (SELECT again::text = j::text FROM kafka.decode(NULL::j, kafka.encode(j)) again) AS same
FROM kafka.decode(NULL::j, convert_to('{"id": "9007199254740993", "name": "\u00e4\"", "amount": 1.50, "on": "2026-11-21",
    "at": "2026-11-21T01:02:03.000004Z", "ok": true, "raw": "AP8=", "tags": ["a", null], "place": {"x": 1.5, "name": "m"},
    "a": {"b": 7}, "doc": {"z": [1, {}]}}', 'UTF8')) j;
-- a null that belongs nowhere; key and payload apart
CREATE FOREIGN TABLE k (id int OPTIONS (source 'key'), a int) SERVER s OPTIONS (topic 't', key_format 'json');
SELECT convert_from(kafka.encode_key(k), 'UTF8') AS key, convert_from(kafka.encode(k), 'UTF8') AS payload
FROM (VALUES (ROW(1, NULL)::k), (ROW(NULL, 2)::k)) AS v (k);

CREATE FOREIGN TABLE framed (a int, b text) SERVER s OPTIONS (topic 't', format 'json_schema');
SELECT * FROM kafka.decode(NULL::framed, '\x0000000007'::bytea || '{"a": 1, "b": "x"}');
SELECT * FROM kafka.decode(NULL::framed, '{"a": 2}', NULL,
    '[{"name": "__value_schema_id", "value": "AYl5F2IjNkGGlnQpm5CogQI=", "base64": true}]');
SELECT * FROM kafka.decode(NULL::framed, '{"a": 2}');
-- without a registry nobody knows its number
SELECT kafka.encode(framed) FROM kafka.decode(NULL::framed, '\x0000000007'::bytea || '{"a": 1, "b": "x"}') framed;

CREATE FOREIGN TABLE r (b bytea) SERVER s OPTIONS (topic 't', format 'raw');
CREATE FOREIGN TABLE t (d date) SERVER s OPTIONS (topic 't', format 'text');
SELECT r.*, kafka.encode(r) FROM kafka.decode(NULL::r, '\x00ff') r;
SELECT r.*, kafka.encode(r) FROM kafka.decode(NULL::r, '') r;
SELECT t.*, kafka.encode(t) FROM kafka.decode(NULL::t, '2026-11-21') t;
SELECT * FROM kafka.decode(NULL::t, '2026-11-31');

DROP SCHEMA format_json CASCADE;
DROP SERVER s CASCADE;
