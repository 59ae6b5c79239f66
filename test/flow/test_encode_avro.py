"""kafka.encode in Avro where columns are JSON or have paths: what a schema's types make of that, read again by
kafka.decode and by Avro's own library. No broker is asked."""

import datetime as dt
import decimal
import io
import json

import avro.io
import avro.schema
import pytest

from test_encode import edb, table  # noqa: F401 (a fixture)

MEANT = {  # what JSON has for a logical type, and what it has no place for there
    "date": ({"type": "int", "logicalType": "date"}, ["2026-11-21"], ["2026-02-30", "x", "", "2026-11-21 10:00:00", True, 1.5]),
    "time": ({"type": "int", "logicalType": "time-millis"}, ["12:34:56.789000"], ["12:34:56.7891", "24:00:01"]),
    "time-us": ({"type": "long", "logicalType": "time-micros"}, ["12:34:56.789012"], ["12:34:56.7890120"]),
    "ts": ({"type": "long", "logicalType": "timestamp-micros"}, ["2026-11-21 10:00:00.123456+00"],
           ["2026-11-21 10:00:00", "2026-11-21 10:00:00.1234567Z", "now"]),
    "ts-ms": ({"type": "long", "logicalType": "timestamp-millis"}, ["1969-12-31 23:59:59.999000+00"], ["2026-11-21 10:00:00.1234Z"]),
    "local": ({"type": "long", "logicalType": "local-timestamp-micros"}, ["2026-11-21 10:00:00.000001"],
              ["2026-11-21 10:00:00Z", "2026-11-21 10:00:00-03"]),
    "decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}, [1, -1.25, 999.99, 0.1],
                ["1.25", 1.255, 1000, "AAE="]),
    "fixed": ({"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 5, "scale": 2}, [-1.25], []),
    "uuid": ({"type": "string", "logicalType": "uuid"}, ["0e984725-c51c-4bf4-9960-e1c80e27aba0"], [1.5]),
    "uuid16": ({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}, ["0e984725-c51c-4bf4-9960-e1c80e27aba0"],
               ["0e98", "AAECAwQFBgcICQoLDA0ODw=="]),
    "duration": ({"type": "fixed", "name": "I", "size": 12, "logicalType": "duration"}, ["1 mons 2 days 3000 microseconds"],
                 ["1 mons 2 days 3001 microseconds", "-1 mons 0 days 0 microseconds", "1 year", "", "5 mons "]),
    "bytes": ("bytes", ["", "AP8=", "QUJD"], ["A", "AP8", "é", 1]),
    "plain": ({"type": "fixed", "name": "P", "size": 2}, ["AP8="], ["AP//", "x"]),
    "float": ("float", [0.1, 1.5, 16777216], [0.123456789, "x"]),
    "long": ("long", [-9223372036854775808, 9223372036854775807], [9223372036854775808, 1.5])}


@pytest.mark.parametrize("name", MEANT)
def test_avro_logical_types_within_json(edb, name):
    """In a column of their own, in records, arrays and maps, and in unions: what is read is what was given."""
    type, good, bad = MEANT[name]
    table(edb, "t", {"j": "jsonb", "r": "jsonb", "u": "jsonb"}, format="avro", avro_schema=json.dumps(
        {"type": "record", "name": "R", "fields": [{"name": "j", "type": ["null", type]},
         {"name": "r", "type": ["null", {"type": "record", "name": "In", "fields": [
             {"name": "a", "type": {"type": "array", "items": type if isinstance(type, str) else type.get("name", type)}},
             {"name": "m", "type": {"type": "map", "values": type if isinstance(type, str) else type.get("name", type)}}]}]},
         {"name": "u", "type": ["null", "boolean", type if isinstance(type, str) else type.get("name", type)]}]}))
    def row(v):
        return [json.dumps(v), json.dumps({"a": [v, v], "m": {"k": v}}), json.dumps(v)]
    for v in good:
        assert edb.value("SELECT (SELECT d FROM kafka.decode(NULL::t, kafka.encode(given)) d) = given FROM"
                         " (SELECT ROW(%s::jsonb, %s::jsonb, %s::jsonb)::t AS given) one", row(v)), v
    for v in bad:
        for column, given in zip("jr", row(v)):
            e = edb.error(f"SELECT kafka.encode(jsonb_populate_record(NULL::t, jsonb_build_object('{column}', %s::jsonb)))",
                          [given])
            assert e.sqlstate == "22P02" and "does not fit" in e.diag.message_detail, (column, v)


def test_avro_numbers_within_json_are_no_times(edb):
    table(edb, "t", {"j": "jsonb"}, format="avro", avro_schema=json.dumps(
        {"type": "record", "name": "R", "fields": [{"name": "j", "type": [
            "null", {"type": "long", "logicalType": "timestamp-millis"}, "double"]}]}))
    for given in "5", "-1.5", '"1970-01-01 00:00:00.005000+00"':
        assert edb.value("SELECT (SELECT j::text FROM kafka.decode(NULL::t, kafka.encode(ROW(%s::jsonb)::t)))", [given]) == given


def test_avro_json_by_its_library(edb):
    """What is written of JSON is what another house reads; a time in other words is the same time."""
    named = {n: t for n, (t, _, _) in MEANT.items() if n in ("date", "time-us", "ts", "decimal", "uuid", "bytes")}
    schema = {"type": "record", "name": "R", "fields": [{"name": "r", "type": {"type": "record", "name": "In", "fields": [
        {"name": n.replace("-", "_"), "type": t} for n, t in named.items()]}}, {"name": "t", "type": "string"}]}
    table(edb, "t", {"r": "jsonb", "t": "text"}, format="avro", avro_schema=json.dumps(schema))
    payload = edb.value("SELECT kafka.encode(ROW(%s::jsonb, 'AP8=')::t)", [json.dumps({
        "date": "2026-11-21", "time_us": "12:34:56.5", "ts": "2026-11-21T12:00:00.5+02:00", "decimal": -1.25,
        "uuid": "0e984725-c51c-4bf4-9960-e1c80e27aba0", "bytes": "AP8="})])
    read = avro.io.DatumReader(avro.schema.parse(json.dumps(schema))).read(avro.io.BinaryDecoder(io.BytesIO(payload)))
    assert read["t"] == "AP8=" and {k: v if k != "uuid" else str(v) for k, v in read["r"].items()} == {
        "date": dt.date(2026, 11, 21), "time_us": dt.time(12, 34, 56, 500000),
        "ts": dt.datetime(2026, 11, 21, 10, 0, 0, 500000, dt.timezone.utc), "decimal": decimal.Decimal("-1.25"),
        "uuid": "0e984725-c51c-4bf4-9960-e1c80e27aba0", "bytes": b"\0\xff"}
    # Text in a column of text is no base64.
    table(edb, "b", {"b": "text"}, format="avro", avro_schema=json.dumps(
        {"type": "record", "name": "R", "fields": [{"name": "b", "type": "bytes"}]}))
    assert edb.error("SELECT kafka.encode(ROW('AP8=')::b)").sqlstate == "22P02"


def test_avro_record_of_no_columns_is_null(edb):
    """Where it may be, and all columns that have paths into it are null; a composite of nulls is one."""
    inner = {"type": "record", "name": "In", "fields": [
        {"name": "x", "type": "int"}, {"name": "deep", "type": ["null", {"type": "record", "name": "Deep", "fields": [
            {"name": "y", "type": "string"}]}]}]}
    table(edb, "t", {"x": "int OPTIONS (path '$.in.x')", "y": "text OPTIONS (path '$.in.deep.y')",
                     "n": "int OPTIONS (path '$.ns[0]')", "p": "pair"}, format="avro", avro_schema=json.dumps(
        {"type": "record", "name": "R", "fields": [
            {"name": "in", "type": ["null", inner]}, {"name": "ns", "type": [{"type": "array", "items": "int"}, "null"]},
            {"name": "p", "type": ["null", {"type": "record", "name": "P", "fields": [
                {"name": c, "type": ["null", t]} for c, t in (("a", "int"), ("b", "string"))]}]}]}))
    for values, wanted in (("NULL, NULL, NULL, NULL", b"\0\2\0"), ("1, NULL, NULL, NULL", b"\2\2\0\2\0"),
                           ("1, 'a', 2, ROW(NULL, NULL)", b"\2\2\2\2a\0\2\4\0\2\0\0")):
        given = f"ROW({values})::t"
        assert bytes(edb.value(f"SELECT kafka.encode({given})")) == wanted
        assert edb.value(f"SELECT (SELECT d::text FROM kafka.decode(NULL::t, kafka.encode({given})) d) = ({given})::text")
    assert edb.error("SELECT kafka.encode(ROW(NULL, 'a', NULL, NULL)::t)").sqlstate == "22P02"
