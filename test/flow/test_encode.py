"""kafka.encode and kafka.encode_key: what they write is decoded to the same row again, and other houses' libraries
read the same in it. No broker is asked."""

import base64
import datetime as dt
import decimal
import io
import json
import random

import avro.io
import avro.schema
import cbor2
import msgpack
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from registry import Registry
from test_protobuf import class_of, typed_file

TYPES = {"b": "boolean", "i2": "int2", "i4": "int4", "i8": "int8", "f4": "float4", "f8": "float8",
         "n": "numeric", "t": "text", "v": "varchar(20)", "by": "bytea", "d": "date", "ti": "time",
         "ts": "timestamp", "tz": "timestamptz", "iv": "interval", "u": "uuid", "j": "jsonb", "ai": "int[]",
         "at": "text[]", "r": "pair"}
INFINITE = {"f4": "NaN", "f8": "-Infinity", "n": "NaN", "d": "infinity", "ts": "-infinity", "tz": "infinity"}


def some_value(rng, name):
    """As text for the type's input function."""
    texts = ["", "a", 'q"\\,;\t\n=x y', "é€😀", "\\N", "null", "1.5"]
    made = {
        "b": lambda: rng.choice(["t", "f"]),
        "i2": lambda: rng.randint(-2**15, 2**15 - 1), "i4": lambda: rng.randint(-2**31, 2**31 - 1),
        "i8": lambda: rng.choice([rng.randint(-2**63, 2**63 - 1), rng.randint(-200, 200)]),
        "f4": lambda: rng.choice([0.1, 1e30, -2.5]), "f8": lambda: rng.uniform(-1e10, 1e10),
        "n": lambda: rng.choice([f"{rng.randint(-10**30, 10**30)}.{rng.randint(0, 99999)}", "0", "-0.001",
                                 str(rng.randint(-10**20, 10**20)), "12345678901234567890"]),
        "t": lambda: rng.choice(texts), "v": lambda: rng.choice(texts),
        "by": lambda: "\\x" + rng.randbytes(rng.choice([0, 1, 3, 300])).hex(),
        "d": lambda: rng.choice(["2026-11-21", "0044-03-15 BC", "1969-12-31", "12345-01-01"]),
        "ti": lambda: rng.choice(["00:00:00", "23:59:59.999999", "12:34:56.7"]),
        "ts": lambda: rng.choice(["2026-11-21 10:00:00.123456", "0044-03-15 10:00:00 BC", "1969-12-31 23:59:59.9"]),
        "tz": lambda: rng.choice(["2026-11-21 10:00:00.123456+00", "1900-01-01 00:00:00+02", "1970-01-01 00:00Z"]),
        "iv": lambda: rng.choice(["1 year 2 mons -3 days 04:05:06.7", "-00:00:01", "0"]),
        "u": lambda: "0e984725-c51c-4bf4-9960-e1c80e27aba0",
        "j": lambda: json.dumps(rng.choice([{"a": [1, None, {"b": 1.5}], "": "é"}, [], "x", 7, True])),
        "ai": lambda: rng.choice(["{}", "{1,NULL,-3}", "{{1,2},{3,4}}"]),
        "at": lambda: rng.choice(["{}", '{a,NULL,"","x,y"}', '{"q\\"\\\\"}']),
        "r": lambda: rng.choice(["(1,a)", "(,)", '(5,"x,""y")'])}[name]
    return str(made())


def table(db, name, columns, **options):
    text = ", ".join(f"'{v}'".join([f"{k} ", ""]) for k, v in {"topic": "t", **options}.items())
    listed = ", ".join(f"{c} {t}" for c, t in columns.items())
    db.execute(f"CREATE FOREIGN TABLE {name} ({listed}) SERVER s OPTIONS ({text})")


@pytest.fixture
def edb(bare_db):
    bare_db.execute("CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');"
                    " CREATE USER MAPPING FOR PUBLIC SERVER s;"
                    " CREATE TYPE pair AS (a int, b text); SET datestyle = 'German'; SET intervalstyle = 'iso_8601';"
                    " SET timezone = 'Asia/Kolkata'")
    return bare_db


def round_trip(db, name, columns, row):
    """The payload; the row must come back from it."""
    values = ", ".join(f"%s::{t}" for t in columns.values())
    back = db.rows(f"SELECT decoded::text, given::text, kafka.encode(given) FROM (SELECT ROW({values})::{name}"
                   f" AS given OFFSET 0) one, LATERAL kafka.decode(NULL::{name}, kafka.encode(given)) decoded",
                   list(row.values()))
    assert len(back) == 1
    assert back[0][0] == back[0][1], row
    return back[0][2]


FORMATS = {"json": {}, "json_hex": {"bytea_format": "hex"}, "csv": {}, "csv_odd": {
    "delimiter": ";", "quote": "~", "null": "NIL", "header": "match"}, "tsv": {}, "msgpack": {}, "cbor": {}}


@pytest.mark.parametrize("name", FORMATS)
def test_rows_come_back(edb, name):
    rng = random.Random(name)
    format = name.split("_")[0]
    table(edb, "t", TYPES, format=format, **FORMATS[name])
    for n in range(60):
        row = {c: None if rng.random() < 0.2 or n == 0 else some_value(rng, c) for c in TYPES}
        if n == 1:
            row.update(INFINITE)
        if format not in ("csv", "tsv") and row["j"] == "null":
            row["j"] = None
        payload = round_trip(edb, "t", TYPES, row)
        check_by_library(format, payload, row)


def check_by_library(format, payload, row):
    if format == "json":
        read = json.loads(payload)
    elif format == "msgpack":
        read = msgpack.unpackb(payload, timestamp=1)
    elif format == "cbor":
        read = cbor2.loads(payload)
    else:
        return
    assert list(read) == list(TYPES)
    assert [k for k, v in read.items() if v is None] == [k for k, v in row.items() if v is None]
    for c in ("i2", "i4", "i8"):
        assert row[c] is None or read[c] == int(row[c])
    for c in ("t", "v"):
        assert read[c] == row[c]
    if row["by"] is not None and format != "json":
        assert read["by"] == bytes.fromhex(row["by"][2:])
    if row["n"] not in (None, "NaN"):
        assert decimal.Decimal(read["n"] if format != "json" else str(read["n"])) == decimal.Decimal(row["n"]) \
            or format == "json"  # Python reads its numbers as floats
    if row["j"] is not None:
        assert read["j"] == json.loads(row["j"])
    if row["f8"] is not None and row["f8"] != "-Infinity":
        assert read["f8"] == float(row["f8"])


def test_paths_keys_and_refusals(edb):
    edb.execute("CREATE FOREIGN TABLE p (a int OPTIONS (path '$.x.y[1]'), b text OPTIONS (path '$.x.z'), c int,"
                " k int OPTIONS (source 'key'), _key bytea, _offset bigint) SERVER s OPTIONS (topic 't', format 'json',"
                " key_format 'json')")
    assert edb.row("SELECT convert_from(kafka.encode(p), 'UTF8'), convert_from(kafka.encode_key(p), 'UTF8') FROM"
                   " (SELECT (ROW(1, 'b', NULL, 7, NULL, NULL)::p).*) q, LATERAL (SELECT ROW(q.*)::p AS p) r") == (
        '{"x":{"y":[null,1],"z":"b"},"c":null}', '{"k":7}')
    assert edb.value("SELECT kafka.encode_key(ROW(1, 'b', 2, NULL, NULL, NULL)::p)") is None
    assert edb.value("SELECT kafka.encode(NULL::p)") is None
    table(edb, "d", {"a": "int", "_op": "text"}, format="debezium")
    e = edb.error("SELECT kafka.encode(ROW(1, 'c')::d)")
    assert e.sqlstate == "42809" and "only read" in str(e)
    assert edb.error("SELECT kafka.encode(1)").sqlstate == "42809"
    table(edb, "raw", {"a": "bytea"}, format="raw")
    table(edb, "txt", {"a": "date"}, format="text")
    assert bytes(edb.value("SELECT kafka.encode(ROW('\\x00ff')::raw)")) == b"\x00\xff"
    assert bytes(edb.value("SELECT kafka.encode(ROW('2026-11-21')::txt)")) == b"2026-11-21"


def test_what_a_statement_keeps_is_given_up_when_the_table_changes(edb):
    table(edb, "t", {"a": "int"}, format="json")
    edb.execute("DO $$ DECLARE r t; b bytea; BEGIN r.a := 1; FOR i IN 1..3 LOOP b := kafka.encode(r);"
                " ALTER FOREIGN TABLE t OPTIONS (SET format 'msgpack'); END LOOP;"
                " IF b <> '\\x81a16101' THEN RAISE '%', b; END IF; END $$")


def test_what_a_transaction_keeps_is_given_up_when_the_table_changes(edb):
    """PL/pgSQL keeps an expression longer than a statement."""
    edb.execute("CREATE FOREIGN TABLE kept (a int, b text) SERVER s OPTIONS (topic 't', format 'json');"
                "CREATE FUNCTION enc() RETURNS text LANGUAGE plpgsql AS $$DECLARE b text;"
                " BEGIN b := convert_from(kafka.encode(ROW(1, 'x')::kept), 'UTF8'); RETURN b; END$$")
    json = edb.value("SELECT enc()")
    with edb.connection.transaction():
        assert edb.value("SELECT enc()") == json
        edb.execute("SAVEPOINT a; ALTER FOREIGN TABLE kept OPTIONS (SET format 'csv')")
        assert edb.value("SELECT enc()") == "1,x\n"
        edb.execute("ROLLBACK TO a")
        assert edb.value("SELECT enc()") == json
        with edb.connect() as other:
            other.execute("ALTER FOREIGN TABLE kept OPTIONS (SET format 'csv')")
        assert edb.value("SELECT enc()") == "1,x\n"


def test_influx_lines(edb):
    edb.execute("CREATE FOREIGN TABLE l (measurement text, host text OPTIONS (path 'tag.ho st'), f float8, i int8,"
                " b boolean, s text, time timestamptz) SERVER s OPTIONS (topic 't', format 'influx')")
    columns = {"measurement": "text", "host": "text", "f": "float8", "i": "int8", "b": "boolean", "s": "text",
               "time": "timestamptz"}
    for row in (["m,x y", "a=b, c", "0.5", "-3", "t", 'say "hi" \\o/', "2026-11-21 10:00:00.123456+00"],
                ["m", None, "1e20", None, None, None, "1900-01-01 00:00:00.5+00"]):
        round_trip(edb, "l", columns, dict(zip(columns, row)))
    more = {"measurement": "text", "by": "bytea", "ai": "int[]", "at": "text[]", "r": "pair", "j": "jsonb"}
    table(edb, "more", more, format="influx")
    for row in (["m", "\\x6869c3a9", "{{1,NULL},{3,4}}", '{"a b",NULL,"\\"\\\\,"}', '(5,"x,""y")', '"[1]"'],
                ["m", "\\x", "{}", "{}", "(,)", "1.5"]):
        round_trip(edb, "more", more, dict(zip(more, row)))
    table(edb, "u", {"measurement": "text", "f": "int", "time": "timestamptz"}, format="influx", timestamp_unit="s")
    table(edb, "w", {"measurement": "text", "f": "int", "time": "text"}, format="influx")
    good = "'h', 1, NULL, NULL, NULL, NULL"
    for line, words in {
            "ROW('m', 'h', NULL, NULL, NULL, NULL, NULL)::l": "a field that is not null",
            f"ROW(NULL, {good})::l": "a measurement",
            f"ROW('', {good})::l": 'Column "measurement": names and tags cannot be empty',
            f"ROW('#m', {good})::l": "is a comment",
            f"ROW(E'm f=1\\nm', {good})::l": "a line break",
            "ROW('m', E'h f=1\\nm', 1, NULL, NULL, NULL, NULL)::l": 'Column "host": names and tags cannot have',
            "ROW('m', '', 1, NULL, NULL, NULL, NULL)::l": "NULL leaves a tag out",
            r"ROW('m', 'h\', 1, NULL, NULL, NULL, NULL)::l": "or end in a backslash",
            "ROW('m', 'h', 1, NULL, NULL, NULL, '2300-01-01')::l": "64 bits of nanoseconds",
            "ROW('m', 'h', 1, NULL, NULL, NULL, 'infinity')::l": "a time is a timestamp",
            r"ROW('m', '\xff', NULL, NULL, NULL, NULL)::more": "which these bytes are not",
            "ROW('m', NULL, NULL, NULL, NULL, '[1]')::more": "it may have their text",
            "ROW('m', 1, '2026-11-22 00:00:00.5Z')::u": "not whole in the unit",
            "ROW('m', 1, E'1\\nm f=2')::w": "a time is a timestamp"}.items():
        e = edb.error(f"SELECT kafka.encode({line})")
        assert e.sqlstate == "22P02" and words in e.diag.message_detail, line
    assert bytes(edb.value("SELECT kafka.encode(ROW('m', 1, '2026-11-22 00:00:00Z')::u)")) == b"m f=1i 1795305600\n"


DEEP = {"msgpack": {}, "cbor": {}, "avro": {"avro_schema": json.dumps({
    "type": "record", "name": "L", "fields": [{"name": "j", "type": ["null", "int", {"type": "array", "items": {
        "type": "record", "name": "N", "fields": [{"name": "j", "type": ["null", "L"]}]}}]}]})}}


@pytest.mark.parametrize("format", DEEP)
def test_what_is_nested_too_deep_is_refused(edb, format):
    """Whatever the stack's limit: the server's own readers of JSON let more pass with a larger one."""
    table(edb, "t", {"j": "json"}, format=format, **DEEP[format])
    edb.execute("SET max_stack_depth = '7MB'")
    e = edb.error("SELECT kafka.encode(ROW((repeat('[', 40000) || repeat(']', 40000))::json)::t)")
    assert e.sqlstate == "22P02" and "nested too deep" in f"{e.diag.message_primary} {e.diag.message_detail}"
    if format != "avro":
        deep = "(repeat('[', {0}) || repeat(']', {0}))::json".format(490)
        assert edb.value(f"SELECT (kafka.decode(NULL::t, kafka.encode(ROW({deep})::t))).j::text = {deep}::text")


UNIONS = [  # the branches, the column's type, its value, which branch
    (["double", "string"], "text", "hello", 1), (["string", "double"], "float8", "1.5", 1),
    (["double", "long"], "int8", "5", 1), (["float", "double"], "float8", "0.1", 1),
    (["float", "double"], "float4", "0.1", 0), (["bytes", "string"], "text", "x", 1),
    (["string", "bytes"], "bytea", "x", 1), (["string", {"type": "int", "logicalType": "date"}], "date", "2026-11-22", 1),
    ([{"type": "long", "logicalType": "timestamp-micros"}, "long"], "int8", "5", 1),
    (["string", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}], "numeric", "1.25", 1),
    (["string", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}], "numeric", "1.255", 0),
    ([{"type": "enum", "name": "E", "symbols": ["A"]}, "string"], "text", "A", 0),
    ([{"type": "enum", "name": "E", "symbols": ["A"]}, "string"], "text", "B", 1),
    (["null", "string"], "int", None, 0), (["boolean", "string"], "boolean", "t", 0)]


def test_avro_takes_the_values_own_branch(edb):
    for n, (branches, type, given, wanted) in enumerate(UNIONS):
        table(edb, f"u{n}", {"a": type}, format="avro", avro_schema=json.dumps(
            {"type": "record", "name": "R", "fields": [{"name": "a", "type": branches}]}))
        payload = bytes(edb.value(f"SELECT kafka.encode(ROW(%s::{type})::u{n})", [given]))
        assert payload[0] == 2 * wanted, (branches, given)


def test_avro_gives_up_on_unions_within_unions(edb):
    """A schema by which a value that fits nowhere would be tried some 2 to the 24th times; and one where each
    element of a large array is tried twice."""
    again = {"name": "x", "type": ["null", "a", "b"]}
    table(edb, "deep", {"doc": "jsonb OPTIONS (path '$')"}, format="avro", avro_schema=json.dumps(
        {"type": "record", "name": "a", "fields": [{"name": "x", "type": ["null", "a", {
            "type": "record", "name": "b", "fields": [again]}]}]}))
    doc = "text"
    for _ in range(24):
        doc = {"x": doc}
    with pytest.raises(Exception, match="too many ways"):
        edb.execute("SELECT kafka.encode(ROW(%s::jsonb)::deep)", [json.dumps(doc)])
    table(edb, "wide", {"doc": "jsonb OPTIONS (path '$')"}, format="avro", avro_schema=json.dumps(
        {"type": "array", "items": [{"type": "record", "name": "a", "fields": [{"name": "x", "type": "int"}]},
                                    {"type": "record", "name": "b", "fields": [{"name": "x", "type": "string"}]}]}))
    doc = [{"x": "s"}] * 20000
    assert edb.value("SELECT doc FROM kafka.decode(NULL::wide, (SELECT kafka.encode(ROW(%s::jsonb)::wide)))",
                     [json.dumps(doc)]) == doc


@pytest.mark.parametrize("type", ["float", "double"])
def test_what_is_no_number_is_refused(edb, type):
    """In Avro and in Protobuf; and a number that would come back as another one."""
    table(edb, "a", {"f": "text", "n": "numeric", "d": "float8"}, format="avro", avro_schema=json.dumps(
        {"type": "record", "name": "R", "fields": [{"name": c, "type": ["null", type]} for c in "fnd"]}))
    with Registry() as registry:
        fields = "".join(f" optional {type} {c} = {i + 1};" for i, c in enumerate("fnd"))
        registry.register("t-value", f'syntax = "proto3"; message M {{{fields} }}', type="PROTOBUF")
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}')")
        table(edb, "p", {"f": "text", "n": "numeric", "d": "float8"}, format="protobuf")
        for name in "ap":
            bad = ["'hello', NULL, NULL", "'', NULL, NULL", "'1.5x', NULL, NULL", "NULL, 1e400, NULL",
                   "NULL, 9007199254740993, NULL", "NULL, 0.12345678901234567890, NULL"]
            for row in bad + (["NULL, NULL, 1e300", "NULL, NULL, 0.123456789"] if type == "float" else []):
                e = edb.error(f"SELECT kafka.encode(ROW({row})::{name})")
                assert e.sqlstate == "22P02" and "does not fit" in e.diag.message_detail, row
            back = f"SELECT (kafka.decode(NULL::{name}, kafka.encode(ROW({{}})::{name}))).*"
            assert edb.row(back.format("'NaN', 0.5, '-Infinity'")) == ("NaN", decimal.Decimal("0.5"), float("-inf"))


def test_protobuf_text_is_utf8(edb):
    with Registry() as registry:
        registry.register("t-value", 'syntax = "proto3"; message M { string s = 1; bytes b = 2; }', type="PROTOBUF")
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}')")
        table(edb, "t", {"s": "bytea"}, format="protobuf")
        assert bytes(edb.value("SELECT kafka.encode(ROW('\\xc3a9')::t)"))[6:] == b"\x0a\x02\xc3\xa9"
        assert edb.error("SELECT kafka.encode(ROW('\\xff00')::t)").sqlstate == "22P02"
        table(edb, "u", {"b": "uuid"}, format="protobuf")
        round_trip(edb, "u", {"b": "uuid"}, {"b": "0e984725-c51c-4bf4-9960-e1c80e27aba0"})
        table(edb, "d", {"b": "date"}, format="protobuf")
        assert edb.error("SELECT kafka.encode(ROW('2026-11-22')::d)").sqlstate == "22P02"


def test_protobuf_message_of_no_columns_is_absent(edb):
    with Registry() as registry:
        registry.register("t-value", 'syntax = "proto3"; message M { In in = 1; int32 y = 2; } message In { int32 x = 1; }',
                          type="PROTOBUF")
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}')")
        table(edb, "t", {"x": "int OPTIONS (path '$.in.x')", "y": "int"}, format="protobuf")
        for given, wanted in (("NULL, 1", b"\x10\1"), ("0, 1", b"\x0a\2\x08\0\x10\1")):
            assert bytes(edb.value(f"SELECT kafka.encode(ROW({given})::t)"))[6:] == wanted
        assert edb.row("SELECT (kafka.decode(NULL::t, kafka.encode(ROW(NULL, 1)::t))).*") == (None, 1)


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_what_no_field_takes_is_refused(edb, format):
    with Registry() as registry:
        if format == "avro":
            registry.register("t-value", {"type": "record", "name": "M", "fields": [
                {"name": "a", "type": ["null", "string"]}, {"name": "j", "type": "string", "default": ""}]})
        else:
            registry.register("t-value", 'syntax = "proto3"; message M { string a = 1; string j = 2; }', type="PROTOBUF")
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}')")
        table(edb, "t", {"a": "text", "b": "int"}, format=format)
        assert edb.value("SELECT (kafka.decode(NULL::t, kafka.encode(ROW('x', NULL)::t))).a") == "x"
        e = edb.error("SELECT kafka.encode(ROW('x', 1)::t)")
        assert e.sqlstate == "22P02" and e.diag.message_detail == "M has no field b."
        # JSON is what it is, and not its text.
        table(edb, "k", {"j": "jsonb"}, format=format)
        round_trip(edb, "k", {"j": "jsonb"}, {"j": '"x"'})
        assert edb.error("SELECT kafka.encode(ROW('{}')::k)").sqlstate == "22P02"


AVRO = {"type": "record", "name": "R", "fields": [
    {"name": "b", "type": ["null", "boolean"]}, {"name": "i4", "type": ["null", "int"]},
    {"name": "i8", "type": ["null", "long"]}, {"name": "f8", "type": ["null", "double"]},
    {"name": "n", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 5}]},
    {"name": "t", "type": ["null", "string"]}, {"name": "by", "type": ["null", "bytes"]},
    {"name": "d", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "ti", "type": ["null", {"type": "long", "logicalType": "time-micros"}]},
    {"name": "tz", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
    {"name": "u", "type": ["null", {"type": "string", "logicalType": "uuid"}]},
    {"name": "ai", "type": ["null", {"type": "array", "items": ["null", "int"]}]},
    {"name": "r", "type": ["null", {"type": "record", "name": "P", "fields": [
        {"name": "a", "type": ["null", "int"]}, {"name": "b", "type": ["null", "string"]}]}]},
    {"name": "e", "type": ["null", {"type": "enum", "name": "E", "symbols": ["X", "Y"]}]},
    {"name": "extra", "type": "int", "default": 7}]}


def avro_row(rng, columns):
    row = {c: None if rng.random() < 0.2 else some_value(rng, c) for c in columns if c != "e"}
    if row["n"]:
        row["n"] = f"{rng.randint(-10**30, 10**30)}.{rng.randint(0, 99999):05d}"
    if row["ai"]:
        row["ai"] = rng.choice(["{}", "{1,NULL,-3}"])
    row["d"] = row["d"] and "2026-11-21"
    row["tz"] = row["tz"] and "2026-11-21 10:00:00.123456+00"
    return {**row, "e": rng.choice([None, "X", "Y"])}


@pytest.mark.parametrize("framing", ["none", "container", "registry"])
def test_avro(edb, framing):
    columns = {f["name"]: TYPES.get(f["name"], "text") for f in AVRO["fields"][:-1]}
    rng = random.Random(framing)
    schema = avro.schema.parse(json.dumps(AVRO))
    with Registry() as registry:
        number = registry.register("t-value", AVRO)
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}')")
        given = {} if framing == "registry" else {"avro_schema": json.dumps(AVRO)}
        table(edb, "t", columns, format="avro", avro_framing=framing, **given)
        for _ in range(20):
            row = avro_row(rng, columns)
            payload = bytes(round_trip(edb, "t", columns, row))
            if framing == "container":
                continue
            if framing == "registry":
                assert payload[:5] == b"\0" + number.to_bytes(4, "big")
                payload = payload[5:]
            rest = io.BytesIO(payload)
            read = avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(rest))
            assert rest.read() == b"" and read["extra"] == 7
            for c in ("t", "e", "u"):
                assert read[c] == row[c] or str(read[c]) == row[c]
            assert read["i8"] == (row["i8"] and int(row["i8"])) or int(row["i8"]) == 0
            assert (read["n"] is None) == (row["n"] is None)
            assert read["n"] is None or read["n"] == decimal.Decimal(row["n"])
            assert read["d"] is None or read["d"] == dt.date(2026, 11, 21)
    if framing == "none":
        e = edb.error("SELECT kafka.encode(jsonb_populate_record(NULL::t, '{\"n\": 0.123456}'))")
        assert e.sqlstate == "22P02" and "field n" in e.diag.message_detail


def test_json_schema_asks_the_registry(edb):
    with Registry() as registry:
        other = registry.register("other", AVRO)
        number = registry.register("t-value", '{"type": "object"}', type="JSON")
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}',"
                    " ADD schema_registry_timeout '1s')")
        table(edb, "t", {"a": "int", "b": "text"}, format="json_schema")
        payload = bytes(round_trip(edb, "t", {"a": "int", "b": "text"}, {"a": "1", "b": "x"}))
        assert payload == Registry.frame(number, b'{"a":1,"b":"x"}')
        for unfit, words in ((other, "not a schema of JSON"), (77, "does not have schema 77")):
            e = edb.error("SELECT * FROM kafka.decode(NULL::t, %s)", [Registry.frame(unfit, b"{}")])
            assert e.sqlstate == "22P02" and words in e.diag.message_detail
        assert edb.error("SELECT * FROM kafka.decode(NULL::t, '{}')").sqlstate == "22P02"
        registry.answers = 503
        e = edb.error("SELECT * FROM kafka.decode(NULL::t, %s)", [Registry.frame(78, b"{}")])
        assert e.sqlstate == "HV00N"


PROTO = """
syntax = "proto3";
package p;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
message First { int32 x = 1; }
message M {
  optional bool b = 1; optional sint32 i4 = 2; optional int64 i8 = 3; optional double f8 = 4; optional string t = 5;
  optional bytes by = 6; google.protobuf.Timestamp tz = 7; google.protobuf.Duration iv = 8; repeated int32 ai = 9;
  Pair r = 10; google.protobuf.Value j = 11; map<string, int32> m = 12; optional Color e = 13;
  google.protobuf.Int64Value w = 14; oneof one { string x = 15; fixed32 y = 16; }
  message Pair { optional int32 a = 1; optional string b = 2; }
  enum Color { RED = 0; BLUE = 5; }
}
"""


def test_protobuf_with_a_registry(edb):
    columns = {"b": "boolean", "i4": "int", "i8": "int8", "f8": "float8", "t": "text", "by": "bytea",
               "tz": "timestamptz", "iv": "interval", "ai": "int[]", "r": "pair", "j": "jsonb", "m": "jsonb", "e": "text",
               "w": "int8", "x": "text", "y": "int8"}
    rng = random.Random(1)
    with Registry() as registry:
        registry.register("t-value", PROTO, type="PROTOBUF")
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}')")
        table(edb, "t", columns, format="protobuf", protobuf_message="p.M")
        for _ in range(20):
            row = {c: some_value(rng, c) if c in TYPES and rng.random() < 0.8 else None for c in columns}
            # What is empty on the wire comes back so.
            row.update(iv=rng.choice([None, "-00:00:01.5", "100:00:00"]), ai=rng.choice(["{1,-3}", "{}"]),
                       m=rng.choice(['{"a": 1}', "{}"]), e=rng.choice(["BLUE", "RED", None]),
                       w=rng.choice(["0", "5", None]), j=rng.choice(['{"a": [1, null, "x", true]}', None]))
            row[rng.choice(["x", "y"])] = "7"
            payload = bytes(round_trip(edb, "t", columns, row))
            assert payload[0] == 0 and payload[5:7] == b"\x02\x02"


def test_protobuf_has_one_of_a_oneof(edb):
    with Registry() as registry:
        registry.register("t-value", 'syntax = "proto3"; message M { oneof one { string a = 1; int32 b = 2; } int32 c = 3; }',
                          type="PROTOBUF")
        edb.execute(f"ALTER SERVER s OPTIONS (ADD schema_registry_url '{registry.url}')")
        table(edb, "t", {"a": "text", "b": "int", "c": "int"}, format="protobuf")
        assert edb.value("SELECT kafka.encode(ROW('x', NULL, 1)::t)") and edb.value("SELECT kafka.encode(ROW(NULL, 1, 1)::t)")
        assert "holds one of a and b, not both" in str(edb.error("SELECT kafka.encode(ROW('x', 1, 1)::t)"))


def test_avro_decimals_have_the_precision_of_their_schema(edb):
    table(edb, "t", {"a": "numeric"}, format="avro", avro_schema=json.dumps({"type": "record", "name": "R", "fields": [
        {"name": "a", "type": {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}}]}))
    for fits in ("999.99", "-999.99", "0.01", "0"):
        round_trip(edb, "t", {"a": "numeric(5, 2)"}, {"a": fits})
    for given in ("1000", "-1000.00", "0.001"):
        assert "does not fit" in str(edb.error(f"SELECT kafka.encode(ROW({given})::t)"))


def test_protobuf_by_its_library(edb):
    columns = {"id": "int8", "big": "numeric", "name": "text", "raw": "bytea", "e": "text", "at": "timestamptz",
               "took": "interval", "w": "int", "tags": "text[]", "ns": "int[]", "in_one": "jsonb", "a": "int", "b": "text"}
    file = typed_file()
    made = FileDescriptorSet(file=[file]).SerializeToString()
    table(edb, "t", columns, format="protobuf", protobuf_message="p.M",
          protobuf_descriptor_set=base64.b64encode(made).decode())
    row = dict(zip(columns, ["-5", str(2**64 - 1), "\u20ac", "\\x00ff", "ONE", "2026-11-21 10:20:30.000005Z", "-00:00:01.5",
                             "0", '{a,"b,c"}', "{1,-2}", '{"x": 2.5}', None, "z"]))
    read = class_of(file, "p.M").FromString(bytes(round_trip(edb, "t", columns, row)))
    assert (read.id, read.big, read.name, read.raw, read.e) == (-5, 2**64 - 1, "\u20ac", b"\0\xff", 1)
    assert read.at.ToDatetime() == dt.datetime(2026, 11, 21, 10, 20, 30, 5)
    assert (read.took.seconds, read.took.nanos) == (-1, -500000000) and read.HasField("w") and read.w.value == 0
    assert (list(read.tags), list(read.ns), read.in_one.x) == (["a", "b,c"], [1, -2], 2.5)
    assert read.WhichOneof("one") == "b"
    e = edb.error("SELECT kafka.encode(jsonb_populate_record(NULL::t, '{\"big\": -1}'))")
    assert e.sqlstate == "22P02" and "does not fit big" in e.diag.message_detail
