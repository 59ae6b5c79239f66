"""kafka.sample: names and types of what is in a topic, by widening, and a statement that makes its table."""

import base64
import decimal
import io
import json

import avro.io
import avro.schema
import cbor2
import msgpack
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from test_protobuf import class_of, typed_file


def sampled(db, server, topic, format, *more):
    """The rows, and the statement printed; which must be good for reading the topic."""
    notices = []
    db.connection.add_notice_handler(lambda d: notices.append(d.message_primary))
    rows = db.rows(f"SELECT * FROM kafka.sample('{server}', %s, %s{', %s' * len(more)})", [topic, format, *more])
    statements = [n for n in notices if n.startswith("CREATE FOREIGN TABLE")]
    for s in statements:
        db.execute(s)
        assert db.rows(f'SELECT * FROM "{topic}" LIMIT 1')
        db.execute(f'DROP FOREIGN TABLE "{topic}"')
    return rows, statements


def test_types_widen(db, kafka, topic, produce):
    produce(topic, [{"id": 1, "n": 1, "at": "2026-11-21T10:00:00Z", "d": "2026-11-21", "tags": ["a"], "ns": [1, 2.5],
                     "mixed": 1, "o": {"x": 1}, "empty": None, "U u": "0e984725-c51c-4bf4-9960-e1c80e27aba0"},
                    {"id": 9007199254740993, "n": 1.25, "at": None, "d": "2026-11-21 10:00:00", "tags": [],
                     "mixed": "x", "o": [1], "f": 1e30, "late": True}, [{"id": 3}, {"id": 4}], "not json"])
    rows, (statement,) = sampled(db, db.server(kafka), topic, "json")
    assert rows == [
        ("id", "bigint", 4, 0), ("n", "numeric", 2, 0), ("at", "timestamptz", 2, 1), ("d", "timestamp", 2, 0),
        ("tags", "text[]", 2, 0), ("mixed", "text", 2, 0), ("ns", "numeric[]", 1, 0), ("o", "jsonb", 2, 0),
        ("f", "double precision", 1, 0), ("empty", "text", 1, 1), ("late", "boolean", 1, 0), ("U u", "uuid", 1, 0)]
    assert '"U u" uuid' in statement
    assert sampled(db, db.server(kafka), topic, "json", 1)[0][0] == ("id", "bigint", 1, 0)


def test_other_formats(db, kafka, new_topic, produce):
    server = db.server(kafka)
    cases = {
        "csv": ([b'1,2.5,"a,b"\n2,3,x\n'], [("c1", "bigint"), ("c2", "numeric"), ("c3", "text")]),
        "cbor": ([cbor2.dumps({"a": 1, "b": "x"})], [("a", "bigint"), ("b", "text")]),
        "text": ([b"some words"], [("payload", "text")]), "raw": ([b"\0"], [("payload", "bytea")]),
        "influx": ([b"m,host=a x=1i,y=2.5 1"], [("measurement", "text"), ("time", "timestamptz"), ("host", "text"),
                                                ("x", "bigint"), ("y", "numeric")]),
        "debezium": ([{"op": "c", "source": {}, "after": {"id": 1, "name": "x"}}, None],
                     [("id", "bigint"), ("name", "text")])}
    for format, (records, expected) in cases.items():
        topic = new_topic()
        produce(topic, records)
        rows, statements = sampled(db, server, topic, format)
        assert [r[:2] for r in rows] == expected and len(statements) == 1, format


def test_lines_by_their_options(db, kafka, new_topic, produce):
    """Names of a header, quotes with delimiters and line breaks in them; and the table finds every value."""
    server = db.server(kafka)
    cases = [
        ({"header": "match"}, b'id,"the name",n\r\n1,x,2.5\r\n2,"a,b",3\r\n', ["id", "the name", "n"], [("1", "x"), ("2", "a,b")]),
        ({"header": "true"}, b"a,a,_offset\n1,x,2\n", ["c1", "c2", "c3"], [("1", "x")]),
        ({"header": "true", "delimiter": ";", "quote": "'"}, b"'a;b';c\n'x;y';1\n", ["a;b", "c"], [("x;y", "1")]),
        ({"header": "true", "delimiter": "x", "quote": "q"}, b"qaxbqxc\nqyxzqx1\n", ["axb", "c"], [("yxz", "1")]),
        ({"quote": "1", "delimiter": "."}, b"1a.b1.c\n", ["c1", "c2"], [("a.b", "c")]),
        ({"escape": "e"}, b'"a,e"b,",c\n', ["c1", "c2"], [('a,"b,', "c")]),
        ({"escape": "\\"}, b'"a,\\"b",1\n', ["c1", "c2"], [('a,"b', "1")]),
        ({}, b'"line one\nline ""two""",1,5\n2,"x",6\n', ["c1", "c2", "c3"], [('line one\nline "two"', "1"), ("2", "x")])]
    for options, payload, names, first in cases:
        topic = new_topic()
        produce(topic, [payload])
        rows, (statement,) = sampled(db, server, topic, "csv", 10, json.dumps(options))
        assert [r[0] for r in rows] == names, options
        db.execute(statement)
        columns = ", ".join(f'"{n}"::text' for n in names[:2])
        assert db.rows(f'SELECT {columns} FROM "{topic}"') == first


def test_names_that_columns_cannot_have(db, kafka, new_topic, produce):
    """Such a member's column has another name and a path; and the table finds every value."""
    server = db.server(kafka)
    long = "n" * 63
    cases = {
        "json": ([{"_offset": "abc", "_key": 5, "_topic": "hello", "_error": True, "ctid": "c", "": "e", long + "a": 1,
                   long + "b": 2, "ä" * 40: 3, 'q"\\\'': 4, "_offset_": "own", "_op": "x"}],
                 {"_offset_2": "abc", "_key_": 5, "_topic_": "hello", "_error_": True, "ctid_": "c", "_": "e",
                  "n" * 62 + "_": 1, "n" * 61 + "_2": 2, "ä" * 31 + "_": 3, 'q"\\\'': 4, "_offset_": "own", "_op": "x"}),
        "influx": ([b"m,x=a,measurement=b,time=c,_topic=d x=1i 1000"],
                   {"measurement": "m", "measurement_": "b", "time_": "c", "_topic_": "d", "x": "a", "x_": 1})}
    for format, (records, expected) in cases.items():
        topic = new_topic()
        produce(topic, records)
        rows, (statement,) = sampled(db, server, topic, format)
        db.execute(statement)
        for name, value in expected.items():
            quoted = name.replace('"', '""')
            assert db.rows(f'SELECT "{quoted}" FROM "{topic}"') == [(value,)], (format, name)
        assert {r[0] for r in rows} - {"time"} == set(expected)
    topic = new_topic()
    produce(topic, [{"op": "c", "source": {}, "after": {"id": 1, "_op": 1, "_source_x": 1, "ctid": 1, long + "a": 1}}])
    assert [r[0] for r in sampled(db, server, topic, "debezium")[0]] == ["id"]  # which has no paths


def test_types_take_the_records_sampled(db, kafka, topic, produce):
    """What only looks like a type is none: the table made by the statement reads what was sampled."""
    ok = {"d": "2026-02-28", "z": "2026-01-01 00:00:00+15:59", "f": 1e300}
    produce(topic, ['{"d": "2024-02-29", "d1": "2026-02-31", "d0": "0000-01-01", "ts": "2026-02-30T10:00:00",'
                    ' "ds": ["2026-02-30"], "z": "2024-02-29T10:00:00Z", "z1": "2026-01-01T00:00:00+99:99", "f": 1e-5,'
                    ' "big": 1e400, "bigs": [1e400], "f2": 1.5e3, "long": 1' + "0" * 400 + ', "longer": 1e200000}',
                    ok | {"f2": 2, "big": 1e10}])
    rows, (statement,) = sampled(db, db.server(kafka), topic, "json")
    assert {r[0]: r[1] for r in rows} == {
        "d": "date", "d1": "text", "d0": "text", "ts": "text", "ds": "text[]", "z": "timestamptz", "z1": "text",
        "f": "double precision", "big": "numeric", "bigs": "numeric[]", "f2": "double precision", "long": "numeric",
        "longer": "text"}
    db.execute(statement)
    assert db.rows(f'SELECT d1, big = 1e400, longer FROM "{topic}"') == [
        ("2026-02-31", True, "1e200000"), (None, False, None)]


def test_whole_numbers_to_the_end_of_bigint(db, kafka, new_topic, produce):
    most, least = 2 ** 63 - 1, -2 ** 63
    records = {"json": {"a": most, "b": least, "c": most + 1, "d": least - 1, "e": [most], "f": 0},
               "csv": f"{most},{least},{most + 1},{least - 1},x,0\n".encode()}
    for format, record in records.items():
        topic = new_topic()
        produce(topic, [record])
        rows, (statement,) = sampled(db, db.server(kafka), topic, format)
        array = "bigint[]" if format == "json" else "text"
        assert [r[1] for r in rows] == ["bigint", "bigint", "numeric", "numeric", array, "bigint"], format
        db.execute(statement)
        assert db.row(f'SELECT * FROM "{topic}"')[:4] == (most, least, most + 1, least - 1)


AVRO = {"type": "record", "name": "R", "fields": [
    {"name": "t", "type": "string"}, {"name": "by", "type": ["null", "bytes"]},
    {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 3}}, {"name": "bys", "type": {"type": "array", "items": "bytes"}},
    {"name": "ts", "type": {"type": "array", "items": "string"}},
    {"name": "n", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "none", "type": "bytes"}]}


def avro_payload(value):
    out = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(json.dumps(AVRO))).write(value, avro.io.BinaryEncoder(out))
    return out.getvalue()


def test_bytes_are_bytea(db, kafka, new_topic, produce):
    """Whatever they hold, text too; text that looks like base64 is text."""
    first = {"t": "AAEC", "by": None, "bys": [], "ts": ["AAEC"], "none": b""}
    second = {"t": "é", "by": b"\0\xff", "bys": [b"text", b"\xff"], "ts": [], "none": b""}
    rest = {"fixed": b"abc", "n": decimal.Decimal("1.25")}
    cases = {
        "avro": ([avro_payload(r | rest) for r in (first, second)], {"avro_schema": json.dumps(AVRO)},
                 {"fixed": "bytea", "n": "numeric"}),
        "msgpack": ([msgpack.packb(r) for r in (first, second)], {}, {}),
        # An array of maps is a row for each; a name that paths quote.
        "cbor": ([cbor2.dumps([first, second, {'q"]\\': b"\xff"}])], {}, {'q"]\\': "bytea"})}
    for format, (records, options, more) in cases.items():
        topic = new_topic()
        produce(topic, records)
        rows, (statement,) = sampled(db, db.server(kafka), topic, format, 100, json.dumps(options))
        assert {r[0]: r[1] for r in rows} == {"t": "text", "by": "bytea", "bys": "bytea[]", "ts": "text[]", "none": "text",
                                              **more}, format
        db.execute(statement)
        assert db.rows(f'SELECT t, by, bys FROM "{topic}" WHERE t IS NOT NULL') == [
            ("AAEC", None, []), ("é", b"\0\xff", [b"text", b"\xff"])], format
    topic = new_topic()
    types = base64.b64encode(FileDescriptorSet(file=[typed_file()]).SerializeToString()).decode()
    produce(topic, [class_of(typed_file(), "p.M")(raw=b"text", name="AAEC", tags=["AAEC"]).SerializeToString()])
    rows, _ = sampled(db, db.server(kafka), topic, "protobuf", 9, json.dumps(
        {"protobuf_descriptor_set": types, "protobuf_message": "p.M"}))
    assert {r[0]: r[1] for r in rows if r[0] in ("raw", "name", "tags")} == {"raw": "bytea", "name": "text", "tags": "text[]"}
    topic = new_topic()
    produce(topic, [cbor2.dumps({f"{kind}{n}": b"\xff" if kind == "b" else "t" for n in range(300) for kind in "tb"})])
    rows, _ = sampled(db, db.server(kafka), topic, "cbor")
    assert {(r[0][0], r[1]) for r in rows} == {("t", "text"), ("b", "bytea")} and len(rows) == 600


CONNECT = [("id", "int32", ""), ("big", "int64", ""), ("d", "int32", "io.debezium.time.Date"),
           ("ti", "int64", "io.debezium.time.MicroTime"), ("ts", "int64", "io.debezium.time.MicroTimestamp"),
           ("tz", "string", "io.debezium.time.ZonedTimestamp"), ("n", "bytes", "org.apache.kafka.connect.data.Decimal"),
           ("nv", "struct", "io.debezium.data.VariableScaleDecimal"), ("by", "bytes", ""), ("f", "double", ""),
           ("t", "string", ""), ("j", "string", "io.debezium.data.Json"), ("bits", "bytes", "io.debezium.data.Bits"),
           ("iv", "int64", "io.debezium.time.MicroDuration"), ("none", "int16", ""), ("large", "bytes", "")]
CONNECT_ROW = {"id": 7, "big": 1, "d": 17424, "ti": 3600000000, "ts": 1505459220123456, "tz": "2017-09-15T07:07:00Z",
               "n": "BNI=", "nv": {"scale": 1, "value": "CQ=="}, "by": "/w==", "f": 2, "t": "x", "j": '{"a": 1}', "bits": "AQI=",
               "iv": 1000000, "none": None, "large": base64.b64encode(b"__debezium_unavailable_value").decode(), "ints": [1, None]}


def connect_schema(fields):
    made = [{"type": t, "field": f, **({"name": n} if n else {}),
             **({"parameters": {"scale": "2", "length": "10"}} if n else {})} for f, t, n in fields]
    return made + [{"type": "array", "items": {"type": "int32"}, "field": "ints"}]


def test_change_events_types_by_their_schema(db, kafka, new_topic, produce):
    wanted = ["integer", "bigint", "date", "time", "timestamp", "timestamptz", "numeric", "numeric", "bytea",
              "double precision", "text", "jsonb", "bit varying", "interval", "smallint", "bytea", "integer[]"]
    envelope = {"type": "struct", "fields": [{"type": "struct", "field": part, "fields": connect_schema(CONNECT)}
                                             for part in ("before", "after")] + [{"type": "string", "field": "op"}]}
    flat = {"type": "struct", "fields": connect_schema(CONNECT)}
    for event in ({"schema": envelope, "payload": {"op": "u", "source": {}, "after": CONNECT_ROW}},
                  {"schema": flat, "payload": {**CONNECT_ROW, "large": "/w=="}}):
        topic = new_topic()
        produce(topic, [event, None, "no event", {"schema": 1, "payload": 2}])
        rows, (statement,) = sampled(db, db.server(kafka), topic, "debezium")
        assert [r[1] for r in rows] == wanted
        db.execute(statement)
        assert db.row(f'SELECT id, ts::text, n::text, nv::text, by, f, j, bits::text, iv::text, ints FROM "{topic}" LIMIT 1') == (
            7, "2017-09-15 07:07:00.123456", "12.34", "0.9", b"\xff", 2, {"a": 1}, "1000000001", "00:00:01", [1, None])
    # Where schemas do not agree, and of a row that is a string, values say it.
    topic = new_topic()
    other = {"type": "struct", "fields": [{"type": "int64", "field": "id"}]}
    produce(topic, [{"schema": flat, "payload": {"id": 1, "__op": "c"}}, {"schema": other, "payload": {"id": 2, "__op": "c"}}])
    assert [r[:2] for r in sampled(db, db.server(kafka), topic, "debezium")[0]][0] == ("id", "bigint")
    topic = new_topic()
    mongo = {"type": "struct", "fields": [{"type": "string", "name": "io.debezium.data.Json", "field": "after"},
                                          {"type": "int32", "field": "id"}]}
    produce(topic, [{"schema": mongo, "payload": {"op": "c", "source": {}, "after": '{"id": "x"}'}}])
    assert [r[:2] for r in sampled(db, db.server(kafka), topic, "debezium")[0]] == [("id", "text")]


def test_nothing_to_learn_from(db, kafka, topic):
    assert sampled(db, db.server(kafka), topic, "json") == ([], [])
    assert db.error("SELECT * FROM kafka.sample('broker', 't', 'json', 0)").sqlstate == "22023"
    assert db.error("SELECT * FROM kafka.sample('broker', 't', 'jsn')").sqlstate == "HV024"
    with db.role() as other:
        db.execute(f"SET ROLE {other}")
        assert db.error(f"SELECT * FROM kafka.sample('broker', '{topic}', 'json')").sqlstate == "42501"
        db.execute("RESET ROLE")




def test_records_cannot_spoil_it(db, kafka, new_topic, produce):
    """A producer chooses names and values; the statement that is printed is somebody's to run."""
    db.execute("CREATE TABLE vault (n int)")
    names = ["n int); DROP TABLE vault; --", 'a"b', "it's", "$$", "new\nline", "back\\slash", "%s"]
    topic = new_topic()
    produce(topic, [{name: n for n, name in enumerate(names)}, b'{"nul\\u0000": 1}', {"%s": "\0"}, {"%s": "\\u0000"}])
    rows, (statement,) = sampled(db, db.server(kafka), topic, "json")
    assert sorted((r[0], r[2]) for r in rows) == sorted((name, 1 + (name == "%s")) for name in names)
    db.execute(statement)
    (row,) = db.rows(f'SELECT * FROM "{topic}" LIMIT 1')
    assert sorted(map(int, row)) == list(range(len(names)))
    assert db.value("SELECT to_regclass('public.vault')") == "vault"
    topic = new_topic()
    produce(topic, [{"op": "c", "source": {}, "after": {"id": 1, "a'b": value}} for value in ("v", "\0")])
    assert [r[:3] for r in sampled(db, db.server(kafka), topic, "debezium")[0]] == [("id", "bigint", 1), ("a'b", "text", 1)]
