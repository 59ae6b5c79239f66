-- cbor through kafka.decode and kafka.encode (test/flow/test_documents.py asks its library).
\set VERBOSITY default
SET client_min_messages = warning;
SET bytea_output = hex;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA format_cbor;
SET search_path = format_cbor;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE FOREIGN TABLE c (id bigint, n numeric, f real, u uuid, doc jsonb OPTIONS (path '$')) SERVER s
    OPTIONS (topic 't', format 'cbor');
-- {"id": -7, "n": 4([-2, 27315]), "f": 1.5, "u": 37(...)}
SELECT * FROM kafka.decode(NULL::c, '\xa462696426616ec48221196ab36166f93e006175d8255000112233445566778899aabbccddeeff');
SELECT id, n FROM kafka.decode(NULL::c, '\xbf6269640a616ec249010000000000000000ff');
SELECT id FROM kafka.decode(NULL::c, '\xa1626964ff');
CREATE FOREIGN TABLE whole (doc jsonb OPTIONS (path '$')) SERVER s OPTIONS (topic 't', format 'cbor');
SELECT * FROM kafka.decode(NULL::whole, '\x8301820203f6');

-- the way back: what is written is read as the same row
CREATE FOREIGN TABLE w (id bigint, n numeric, f real, u uuid, t text, b bytea, a int[], at timestamptz, doc jsonb)
    SERVER s OPTIONS (topic 't', format 'cbor');
SELECT kafka.encode(w) AS payload,
    (SELECT again::text = w::text FROM kafka.decode(NULL::w, kafka.encode(w)) again) AS same
FROM kafka.decode(NULL::w, '\xa862696426616ec48221196ab36166f93e006175d8255000112233445566778899aabbccddeeff'
    '6174617861624200ff6161830102f663646f6381f5'::bytea) w;

CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'cbor', timestamp_unit 'min');

DROP SCHEMA format_cbor CASCADE;
DROP SERVER s CASCADE;
