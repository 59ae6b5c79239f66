"""What formats make of records, through the server: types without a fast path, too, and refusals."""

import json
import os
from decimal import Decimal

import psycopg
import pytest
from google.protobuf import descriptor_pb2


def send(produce, topic, *values, **more):
    produce(topic, [{"record": dict(value=v, **more)} for v in values])


def test_json_into_every_kind_of_type(bare_db, kafka, topic, produce):
    bare_db.execute("""
        CREATE TYPE pair AS (x int, "y z" text, ts timestamptz[]);
        CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
        CREATE DOMAIN blob AS bytea;
        CREATE DOMAIN ints AS int[]""")
    bare_db.topic_table("t", """
        b boolean, i smallint, n numeric, n2 numeric(6, 2), f real, d date, ti time(3),
        ts timestamp(0), tz timestamptz, u uuid, v varchar(3), c char(3), h bytea, j json, jb jsonb,
        ia int[][], ta text[], p pair, pa pair[], m mood, pos positive, bl blob, di ints, a inet,
        deep int OPTIONS (path '$.jb.a[1].b'), doc jsonb OPTIONS (path '$')""", kafka, topic)
    document = {
        "b": True, "i": 12.0, "n2": 12.345, "f": 0.1, "d": "2026-11-21", "ti": "10:00:00.12345",
        "ts": "2026-11-21T10:00:00.7", "tz": 1700000000123, "u": "00112233-4455-6677-8899-aabbccddeeff",
        "v": "abc  ", "c": "ab", "h": "AQID", "j": {"k": [1, {}]}, "jb": {"a": [0, {"b": 7}]},
        "ia": [[1, 2], [3, None]], "ta": ['a"b\\', "", "NULL", None, "{}"],
        "p": {"y z": 'q,"(', "x": 1, "ts": [0]}, "pa": [{"x": 2}, None], "m": "happy", "pos": 5,
        "bl": "AQ==", "di": [1, 2], "a": "10.0.0.1/8"}
    n = "1234567890123456789012345678901234567890.0000000000123"
    text = json.dumps(document)[:-1] + f', "n": {n}}}'
    send(produce, topic, text)
    row = bare_db.execute("""
        SELECT b, i, n, n2, f::text, d::text, ti::text, ts::text, tz AT TIME ZONE 'UTC' = '2023-11-14
               22:13:20.123', u::text, v, c, encode(h, 'hex'), j::text, jb, ia, ta,
               (p).x, (p)."y z", (p).ts = '{1970-01-01 00:00:00+00}', (pa[1]).x, pa[2] IS NULL, m::text,
               pos, encode(bl, 'hex'), di, a::text, deep, doc ->> 'u' = u::text FROM t""")[0]
    assert row == (
        True, 12, Decimal(n), Decimal("12.35"), "0.1", "2026-11-21", "10:00:00.123",
        "2026-11-21 10:00:01", True, document["u"], "abc", "ab ", "010203", '{"k": [1, {}]}',
        document["jb"], [[1, 2], [3, None]], document["ta"], 1, 'q,"(', True, 2, True, "happy", 5,
        "01", [1, 2], "10.0.0.1/8", 7, True)


@pytest.mark.parametrize("column, value, sqlstate", [
    ("int", '"x"', "22P02"), ("int", "1.5", "22P02"), ("int", "3000000000", "22003"),
    ("text", r'"a\u0000"', "22P05"), ("jsonb", r'"a\u0000"', "22P05"), ("varchar(2)", '"abc"', "22001"),
    ("numeric(3,1)", "123.4", "22003"), ("date", '"2023-02-29"', "22008"), ("inet", '"x"', "22P02"),
    ("int[]", "[1, []]", "22P02"), ("positive", "-1", "23514"), ("bytea", '"*"', "22023")])
def test_refusals_name_the_record(bare_db, kafka, topic, produce, column, value, sqlstate):
    bare_db.execute("CREATE DOMAIN positive AS bigint CHECK (VALUE > 0)")
    bare_db.topic_table("t", f"v {column}, _offset bigint", kafka, topic)
    bare_db.topic_table("e", f"v {column}, _offset bigint, _error text, _raw bytea", kafka, topic)
    bad = '{"v": %s}' % value
    send(produce, topic, "{}", bad)
    with pytest.raises(psycopg.Error) as e:
        bare_db.execute("SELECT * FROM t")
    assert e.value.sqlstate == sqlstate, e.value
    assert "offset 1" in e.value.diag.context and topic in e.value.diag.context
    assert bare_db.value("SELECT count(*) FROM t") == 2  # v is not asked for, and not judged
    first, second = bare_db.execute("SELECT v, _offset, _error, _raw FROM e ORDER BY _offset")
    assert first == (None, 0, None, b"{}")
    assert second[:2] == (None, 1) and second[2] and second[3] == bad.encode()


def test_keys_headers_tombstones(bare_db, kafka, topic, produce):
    bare_db.topic_table("t", """
        v int, k int OPTIONS (source 'key', path '$.id'), _key jsonb, _headers jsonb, _tombstone boolean,
        trace text OPTIONS (metadata 'header.trace'), _raw bytea""", kafka, topic, key_format="json")
    produce(topic, [
        {"record": dict(value='{"v": 1}', key='{"id": 7}',
                        headers=[("trace", b"a"), ("trace", b"b"), ("bin", b"\xff")])},
        {"record": dict(value=None, key='{"id": 8}')}])
    assert bare_db.execute("SELECT * FROM t ORDER BY k") == [
        (1, 7, {"id": 7}, [{"name": "trace", "value": "a"}, {"name": "trace", "value": "b"},
                           {"name": "bin", "value": "/w==", "base64": True}], False, "b", b'{"v": 1}'),
        (None, 8, {"id": 8}, [], True, None, None)]


def test_raw_and_text(bare_db, kafka, topic, produce):
    bare_db.topic_table("r", "p bytea", kafka, topic, format="raw")
    bare_db.topic_table("x", "p int", kafka, topic, format="text")
    send(produce, topic, "12", "-5")
    assert bare_db.column("SELECT p FROM r ORDER BY 1") == [b"-5", b"12"]
    assert bare_db.column("SELECT p FROM x ORDER BY 1") == [-5, 12]


def test_another_encoding(bare_db, kafka, topic, produce):
    """In a LATIN1 database texts are converted, and what it cannot hold is refused."""
    bare_db.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with bare_db.cluster.connect("latin") as c:
        c.execute("CREATE EXTENSION kafka_engine")
        c.execute(f"""CREATE SERVER broker FOREIGN DATA WRAPPER kafka
                      OPTIONS (bootstrap_servers '{kafka.bootstrap}')""")
        c.execute(f"""CREATE FOREIGN TABLE t (s text, j json, n int, _offset bigint) SERVER broker
                      OPTIONS (topic '{topic}', format 'json')""")
        send(produce, topic, '{"s": "\u00e4", "j": {"\u00e4": 1}, "n": 1}', '{"s": "\u20ac", "n": 2}')
        assert c.execute("SELECT s, j ->> '\u00e4', length(s), n FROM t WHERE _offset = 0").fetchall() == \
            [("\u00e4", "1", 1, 1)]
        with pytest.raises(psycopg.errors.UntranslatableCharacter):
            c.execute("SELECT s FROM t")
        assert [n for n, in c.execute("SELECT n FROM t ORDER BY n")] == [1, 2]
        # Names too, of columns and fields, and on paths.
        c.execute("CREATE TYPE \u00fc AS (\u00e9 int)")
        c.execute("CREATE FOREIGN TABLE u (gr\u00f6\u00dfe int, f \u00fc[], p int OPTIONS (path '$.\u00fc.\u00e9'))"
                  f" SERVER broker OPTIONS (topic '{topic}', format 'json')")
        assert c.execute("SELECT * FROM kafka.decode(NULL::u, convert_to('{\"gr\u00f6\u00dfe\": 1, \"f\":"
                         " [{\"\u00e9\": 2}], \"\u00fc\": {\"\u00e9\": 3}}', 'UTF8'))").fetchall() == [(1, "{(2)}", 3)]
        with pytest.raises(psycopg.errors.InvalidTextRepresentation, match='column "gr\u00f6\u00dfe"'):
            c.execute("SELECT * FROM kafka.decode(NULL::u, convert_to('{\"gr\u00f6\u00dfe\": true}', 'UTF8'))")
    bare_db.execute("DROP DATABASE latin")


def test_a_view_and_its_file_of_types(db, kafka, topic, produce, tmp_path):
    """A running view keeps the types it began with until its table is altered. A file that is gone is no record's
    fault: the view stops with its name, and goes on when it is resumed."""
    file = tmp_path / "types"
    for folder in (tmp_path, *tmp_path.parents):
        if os.stat(folder).st_uid == os.getuid() and not os.stat(folder).st_mode & 1:
            folder.chmod(0o711)  # the server may be another user's

    def write(number):
        field = descriptor_pb2.FieldDescriptorProto(name="a", number=number, type=5, label=1)
        made = descriptor_pb2.FileDescriptorProto(name="m.proto", message_type=[
            descriptor_pb2.DescriptorProto(name="M", field=[field])])
        file.write_bytes(descriptor_pb2.FileDescriptorSet(file=[made]).SerializeToString())
        file.chmod(0o644)

    def alter(n):
        db.execute(f"ALTER FOREIGN TABLE t OPTIONS ({'ADD' if n == 1 else 'SET'} batch_rows '{n}')")

    write(1)
    db.topic_table("t", "a int", kafka, topic, format="protobuf", protobuf_message="M",
                   protobuf_descriptor_set_file=file)
    db.view("v", "SELECT * FROM t")
    send(produce, topic, b"\x08\x07")
    db.wait_count("v", 1)
    write(2)
    send(produce, topic, b"\x08\x08\x10\x09")
    db.wait_count("v", 2)
    assert db.column("SELECT a FROM v ORDER BY a") == [7, 8]
    alter(1)
    send(produce, topic, b"\x08\x08\x10\x09")
    db.wait_count("v", 3)
    assert db.column("SELECT a FROM v ORDER BY a") == [7, 8, 9]
    file.unlink()
    alter(2)
    send(produce, topic, b"\x10\x0a")
    assert "protobuf_descriptor_set_file" in db.wait_state("v", "stopped")[1]
    write(2)
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 4)
    assert db.column("SELECT a FROM v ORDER BY a") == [7, 8, 9, 10]
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 0
