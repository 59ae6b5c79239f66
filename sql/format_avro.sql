-- avro through kafka.decode and kafka.encode (test/flow/test_avro.py asks its own library).
\set VERBOSITY default
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA format_avro;
SET search_path = format_avro;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE TYPE place AS (x double precision, name text);
CREATE FOREIGN TABLE a (id bigint, name text, amount numeric(9, 2), day date, at timestamptz, kind text,
    tags text[], place place, "where" text OPTIONS (path '$.place.name'), late interval)
    SERVER s OPTIONS (topic 't', format 'avro', avro_schema '{"type": "record", "name": "sale",
    "namespace": "shop", "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"], "default": null},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["cash", "card"]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "place", "type": ["null", {"type": "record", "name": "place", "fields": [
            {"name": "x", "type": "float"}, {"name": "name", "type": "string"}]}]},
        {"name": "late", "type": {"type": "fixed", "name": "d", "size": 12, "logicalType": "duration"}}]}');
SELECT * FROM kafka.decode(NULL::a, '\x0e0202780404d2c0b802f6e1bcefa7570204026104626300020000c03f04726d0100000002000000b80b0000');
-- a null name and place; then an amount that the column cannot hold, and a byte too many
SELECT id, name, tags, place FROM kafka.decode(NULL::a, '\x10000404d20000000000000000000000000000000000');
SELECT amount FROM kafka.decode(NULL::a, '\x10000a7fffffffff0000000000000000000000000000000000');
SELECT * FROM kafka.decode(NULL::a, '\x0e0202780404d2c0b802f6e1bcefa7570204026104626300020000c03f04726d0100000002000000b80b000000');
SELECT * FROM kafka.decode(NULL::a, '\x0e');
SELECT * FROM kafka.decode(NULL::a, '');

-- the way back: what is written is read as the same row; but two columns cannot stand at one path
SELECT kafka.encode(a) FROM kafka.decode(NULL::a, '\x10000404d20000000000000000000000000000000000') a;
ALTER FOREIGN TABLE a DROP COLUMN "where";
SELECT kafka.encode(a) AS payload,
    (SELECT again::text = a::text FROM kafka.decode(NULL::a, kafka.encode(a)) again) AS same
FROM kafka.decode(NULL::a, '\x0e0202780404d2c0b802f6e1bcefa7570204026104626300020000c03f04726d0100000002000000b80b0000') a;

-- containers: as they are, packed by deflate, packed by snappy with the checksum of something else, by nobody knows what
CREATE FOREIGN TABLE n (doc text OPTIONS (path '$')) SERVER s OPTIONS (topic 't', format 'avro');
CREATE FUNCTION container(codec text, block bytea) RETURNS bytea LANGUAGE sql AS $$
    SELECT '\x4f626a01' || '\x04'::bytea || '\x166176726f2e736368656d61' || '\x10' || '"string"' || '\x146176726f2e636f646563'
        || set_byte('\x00', 0, 2 * length(codec)) || codec::bytea || '\x00' || '0123456789abcdef'
        || '\x04' || set_byte('\x00', 0, 2 * length(block)) || block || '0123456789abcdef' $$;
SELECT * FROM kafka.decode(NULL::n, container('null', '\x02610262'));
SELECT * FROM kafka.decode(NULL::n, container('deflate', '\x010400fbff02610262'));
SELECT * FROM kafka.decode(NULL::n, container('snappy', '\x040c0261026200000000'));
SELECT * FROM kafka.decode(NULL::n, container('lzo', '\x02610262'));

-- schemas and options are checked by the DDL
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'avro', avro_schema '{"type": "lng"}');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'avro', avro_schema '{');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'avro', avro_framing 'none');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'avro', avro_framing 'frame');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'json', avro_schema '"int"');
CREATE FOREIGN TABLE k (a int, id text OPTIONS (source 'key', path '$')) SERVER s
    OPTIONS (topic 't', key_format 'avro', key_avro_schema '"string"');
SELECT * FROM kafka.decode(NULL::k, '{"a": 1}', '\x046162');

DROP SCHEMA format_avro CASCADE;
DROP SERVER s CASCADE;
