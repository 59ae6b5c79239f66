-- debezium (JSON) and json_schema through kafka.decode.
\set VERBOSITY default
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA format_debezium;
SET search_path = format_debezium;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE FOREIGN TABLE orders (id int, amount numeric(9, 2), day date, at timestamp, tz timestamptz,
    doc jsonb, late interval, flags bit(10), _op text, _source_ts timestamptz, _source_lsn bigint,
    _source jsonb, k int OPTIONS (source 'key'))
    SERVER s OPTIONS (topic 't', format 'debezium', key_format 'debezium');

-- without a schema the columns' types say what values mean
SELECT id, amount, day, at, tz, doc, _op, _source_ts, _source_lsn FROM kafka.decode(NULL::orders, convert_to('{"before": null,
    "after": {"id": 1004, "amount": "BNI=", "day": 17424, "at": 1505459220123456,
              "tz": "2017-09-15T07:07:00.123456Z", "doc": "{\"a\": [1]}"},
    "source": {"version": "2.7", "connector": "postgresql", "name": "srv", "ts_ms": 1505459220123,
               "snapshot": "false", "db": "d", "schema": "public", "table": "orders", "txId": 571,
               "lsn": 24023128, "xmin": null},
    "op": "u", "ts_ms": 1505459220456, "transaction": null}', 'UTF8'));
SELECT id, _op, _source ->> 'table' AS source FROM kafka.decode(NULL::orders,
    '{"before": {"id": 5}, "after": null, "source": {"table": "orders"}, "op": "d"}');
-- with one
SELECT id, at, late, flags, _op, k FROM kafka.decode(NULL::orders, '{"schema": {"type": "struct", "fields": [
        {"type": "struct", "field": "before", "fields": []},
        {"type": "struct", "field": "after", "fields": [{"type": "int32", "field": "id"},
            {"type": "int64", "name": "io.debezium.time.Timestamp", "field": "at"},
            {"type": "int64", "name": "io.debezium.time.MicroDuration", "field": "late"},
            {"type": "bytes", "name": "io.debezium.data.Bits", "parameters": {"length": "10"},
             "field": "flags"}]}]},
    "payload": {"before": null, "after": {"id": 6, "at": 1505459220123, "late": 90061000001,
        "flags": "AQI="}, "source": {}, "op": "c"}}',
    '{"schema": {"type": "struct", "fields": []}, "payload": {"k": 6}}');
-- flattened, truncated, a tombstone
SELECT id, _op, _source_ts FROM kafka.decode(NULL::orders,
    '{"id": 8, "__op": "u", "__source_ts_ms": 1505459220123, "__deleted": "false"}');
SELECT id, _op FROM kafka.decode(NULL::orders, '{"source": {}, "op": "t", "ts_ms": 1}');
SELECT id, _op FROM kafka.decode(NULL::orders, NULL);
-- what an event leaves out; a document of MongoDB's
CREATE FOREIGN TABLE left_out (id int, a text, b bytea, "C d" text[], _op text, _unavailable text[])
    SERVER s OPTIONS (topic 't', format 'debezium');
SELECT * FROM kafka.decode(NULL::left_out, '{"op": "u", "source": {}, "after": {"id": 1, "a": "x",
    "b": "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==", "C d": ["__debezium_unavailable_value"]}}');
SELECT * FROM kafka.decode(NULL::left_out, '{"op": "u", "source": {}, "after": null}');
SELECT * FROM kafka.decode(NULL::left_out, convert_to('{"op": "u", "source": {}, "after":
    "{\"id\": {\"$numberLong\": \"7\"}, \"a\": {\"$oid\": \"596e275826f08b2730779e1f\"}}"}', 'UTF8'));
-- bad ones
SELECT * FROM kafka.decode(NULL::orders, '{"op": "c", "after": {"doc": "__debezium_unavailable_value"}}');
SELECT * FROM kafka.decode(NULL::orders, '{"op": "c", "after": {"amount": "*"}}');
SELECT * FROM kafka.decode(NULL::orders, '{"op": "c", "after": {"amount": "O5rKAA=="}}');
SELECT * FROM kafka.decode(NULL::orders, '{"op": ');

SELECT kafka.encode(o) FROM kafka.decode(NULL::orders, '{"op": "c", "after": {}}') o;

CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'debezium', decimals 'double');
CREATE FOREIGN TABLE x (a int OPTIONS (path '$.after.a')) SERVER s
    OPTIONS (topic 't', format 'debezium');

DROP SCHEMA format_debezium CASCADE;
DROP SERVER s CASCADE;
