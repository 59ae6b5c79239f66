-- protobuf through kafka.decode and kafka.encode (test/flow/test_protobuf.py asks its library). The types are
--   syntax = "proto3"; package shop; import "google/protobuf/timestamp.proto";
--   enum Kind { CASH = 0; CARD = 1; }
--   message Place { double x = 1; string name = 2; }
--   message Sale { int64 id = 1; string name = 2; optional sint32 amount = 3; Kind kind = 4; repeated string tags = 5;
--     Place place = 6; google.protobuf.Timestamp at = 7; bytes raw = 8; map<string, int32> counts = 9; }
\set VERBOSITY default
SET client_min_messages = warning;
SET bytea_output = hex;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA format_protobuf;
SET search_path = format_protobuf;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

SELECT 'CowDCgpzaG9wLnByb3RvEgRzaG9wGh9nb29nbGUvcHJvdG9idWYvdGltZXN0YW1wLnByb3RvIiAKBVBsYWNlEgkKAXgYASABKAES'
    'DAoEbmFtZRgCIAEoCSKQAgoEU2FsZRIKCgJpZBgBIAEoAxIMCgRuYW1lGAIgASgJEhMKBmFtb3VudBgDIAEoEUgAiAEBEhgKBGtp'
    'bmQYBCABKA4yCi5zaG9wLktpbmQSDAoEdGFncxgFIAMoCRIaCgVwbGFjZRgGIAEoCzILLnNob3AuUGxhY2USJgoCYXQYByABKAsy'
    'Gi5nb29nbGUucHJvdG9idWYuVGltZXN0YW1wEgsKA3JhdxgIIAEoDBImCgZjb3VudHMYCSADKAsyFi5zaG9wLlNhbGUuQ291bnRz'
    'RW50cnkaLQoLQ291bnRzRW50cnkSCwoDa2V5GAEgASgJEg0KBXZhbHVlGAIgASgFOgI4AUIJCgdfYW1vdW50KhoKBEtpbmQSCAoE'
    'Q0FTSBAAEggKBENBUkQQAWIGcHJvdG8z' AS types \gset
CREATE TYPE place AS (x double precision, name text);
CREATE FUNCTION make(name text, columns text, options text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE FOREIGN TABLE %I (%s) SERVER s OPTIONS (topic ''t'', format ''protobuf'', %s)', name, columns, options);
END $$;
SELECT make('sale', 'id bigint, name text, amount int, kind text, tags text[], place place, "where" text OPTIONS (path
    ''$.place.name''), at timestamptz, raw bytea, counts jsonb, k int OPTIONS (path ''$.counts.k'')',
    format('protobuf_message ''shop.Sale'', protobuf_descriptor_set %L', :'types'));
SELECT * FROM kafka.decode(NULL::sale, '\x08f9ffffffffffffffff011202c3a4180520012a01612a026263320d09000000000000f83f1202726d3a0b0880dea0cb05108094ef3a420200ff4a050a016b1005');
-- nothing came: defaults, and null where the type knows the difference
SELECT * FROM kafka.decode(NULL::sale, '');
-- a field that came twice, a symbol that is not known, a field of another kind; a message that ends within one
SELECT id, kind FROM kafka.decode(NULL::sale, '\x08010802');
SELECT kind FROM kafka.decode(NULL::sale, '\x2009');
SELECT id FROM kafka.decode(NULL::sale, '\x0a0178');
SELECT id FROM kafka.decode(NULL::sale, '\x12');
SELECT name FROM kafka.decode(NULL::sale, '\x1201ff');

-- the way back: what is written is read as the same row
ALTER FOREIGN TABLE sale DROP COLUMN "where", DROP COLUMN k;
SELECT kafka.encode(sale) AS payload,
    (SELECT again::text = sale::text FROM kafka.decode(NULL::sale, kafka.encode(sale)) again) AS same
FROM kafka.decode(NULL::sale, '\x08f9ffffffffffffffff011202c3a4180520012a01612a026263320d09000000000000f83f1202726d3a0b0880dea0cb05108094ef3a420200ff4a050a016b1005') sale;
SELECT kafka.encode(sale) AS payload FROM kafka.decode(NULL::sale, '') sale;
SELECT make('one', 'kind int', format('protobuf_message ''shop.Sale'', protobuf_descriptor_set %L', :'types'));
SELECT one, kafka.encode(one) FROM kafka.decode(NULL::one, '\x2001') one;

-- options are checked by the DDL; without a set or a registry nothing is known
SELECT make('x', 'a int', format('protobuf_message ''shop.Buy'', protobuf_descriptor_set %L', :'types'));
SELECT make('x', 'a int', format('protobuf_descriptor_set %L', :'types'));
SELECT make('x', 'a int', 'protobuf_message ''shop.Sale'', protobuf_descriptor_set ''AAAA''');
SELECT make('x', 'a int', 'protobuf_message ''shop.Sale'', protobuf_descriptor_set_file ''x.bin''');
SELECT make('x', 'a int', 'protobuf_message ''shop.Sale''');
SELECT * FROM kafka.decode(NULL::x, '');

DROP SCHEMA format_protobuf CASCADE;
DROP SERVER s CASCADE;
