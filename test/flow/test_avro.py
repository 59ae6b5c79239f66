"""avro against its Python library, on random schemas and data."""

import datetime
import decimal
import bz2
import io
import json
import lzma
import os
import random
import struct
import zlib

import avro.datafile
import avro.io
import avro.schema
import psycopg
import pytest
import snappy
import zstandard

from cluster import Cluster

SCHEMAS = int(os.environ.get("KAFKA_ENGINE_AVRO_SCHEMAS", "200"))
SEED = int(os.environ.get("KAFKA_ENGINE_ORACLE_SEED", "1"))
UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def db():
    with Cluster(preload=False) as cluster, cluster.connect() as connection:
        connection.execute("CREATE EXTENSION kafka_engine")
        connection.execute("CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'x:1')")
        connection.execute("CREATE FOREIGN TABLE whole (doc jsonb OPTIONS (path '$')) SERVER s "
                           "OPTIONS (topic 't', format 'avro')")
        yield connection


def encode(schema, datum):
    out = io.BytesIO()
    avro.io.DatumWriter(schema).write(datum, avro.io.BinaryEncoder(out))
    return out.getvalue()


class Maker:
    """A random schema, and data of it together with the JSON that they should become."""

    def __init__(self):
        self.names = 0

    def name(self):
        self.names += 1
        return f"n{self.names}"

    def schema(self, depth=0):
        kinds = ["null", "boolean", "int", "long", "double", "string", "enum", "decimal"]
        kind = random.choice(kinds + (["record", "array", "map", "union"] * 2 if depth < 4 else []))
        if kind == "enum":
            return {"type": "enum", "name": self.name(), "symbols": ["A", "B", "C"]}
        if kind == "decimal":
            return {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": random.randint(0, 9)}
        if kind == "record":
            return {"type": "record", "name": self.name(), "fields": [
                {"name": self.name(), "type": self.schema(depth + 1)} for _ in range(random.randint(0, 5))]}
        if kind == "array":
            return {"type": "array", "items": self.schema(depth + 1)}
        if kind == "map":
            return {"type": "map", "values": self.schema(depth + 1)}
        if kind == "union":
            return ["null", random.choice([{"type": "array", "items": self.schema(depth + 1)}, "string"])]
        return kind

    def datum(self, schema):
        if isinstance(schema, list):
            return (None, None) if random.random() < 0.3 else self.datum(schema[1])
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "record":
            pairs = {f["name"]: self.datum(f["type"]) for f in schema["fields"]}
            return {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
        if kind == "array":
            items = [self.datum(schema["items"]) for _ in range(random.choice([0, 1, 3, 70]) // 2)]
            return [i[0] for i in items], [i[1] for i in items]
        if kind == "map":
            pairs = {f"k{i}": self.datum(schema["values"]) for i in range(random.randint(0, 4))}
            return {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
        if kind == "bytes":
            n = decimal.Decimal(random.randint(-10 ** 25, 10 ** 25)).scaleb(-schema["scale"])
            return n, n
        value = {"null": None, "boolean": random.random() < 0.5, "int": random.randint(-2 ** 31, 2 ** 31 - 1),
                 "long": random.randint(-2 ** 63, 2 ** 63 - 1), "double": random.uniform(-1e9, 1e9),
                 "string": "".join(random.choices("ab\u00e4\"\\\n", k=random.randint(0, 9))),
                 "enum": random.choice("ABC")}[kind]
        return value, value


def test_random_schemas(db):
    random.seed(SEED)
    for i in range(SCHEMAS):
        maker = Maker()
        text = json.dumps(maker.schema())
        schema = avro.schema.parse(text)
        db.execute(f"CREATE FOREIGN TABLE one{i} (doc jsonb OPTIONS (path '$')) SERVER s OPTIONS "
                   f"(topic 't', format 'avro', avro_schema '{text}')")
        data = [maker.datum(json.loads(text)) for _ in range(5)]
        for given, expected in data:
            payload = encode(schema, given)
            if not payload:
                continue  # a null or an empty record: an empty payload is a bad record
            found, = db.execute(f"SELECT doc::text FROM kafka.decode(NULL::one{i}, %s)", (payload,)).fetchone()
            found = None if found is None else json.loads(found, parse_float=decimal.Decimal)
            assert same(found, expected), text
        if isinstance(json.loads(text), dict) and json.loads(text)["type"] == "record":
            out = io.BytesIO()
            codec = random.choice(["null", "deflate", "bzip2", "snappy", "zstandard"])
            writer = avro.datafile.DataFileWriter(out, avro.io.DatumWriter(), schema, codec=codec)
            for given, _ in data:
                writer.append(given)
            writer.flush()
            found = db.execute("SELECT doc::text FROM kafka.decode(NULL::whole, %s)",
                               (out.getvalue(),)).fetchall()
            assert len(found) == len(data)
            for (text_found,), (_, expected) in zip(found, data):
                assert same(json.loads(text_found, parse_float=decimal.Decimal), expected)


def as_default(schema, given):
    """A datum as the default of a field is written."""
    if isinstance(schema, list):
        return None if given is None else as_default(schema[1], given)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return {f["name"]: as_default(f["type"], given[f["name"]]) for f in schema["fields"]}
    if kind == "array":
        return [as_default(schema["items"], g) for g in given]
    if kind == "map":
        return {k: as_default(schema["values"], g) for k, g in given.items()}
    if kind == "bytes":
        n = int(given.scaleb(schema["scale"]))
        return n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True).decode("latin-1")
    return given


def test_defaults_of_a_reader(db):
    """What was not written is as if it had been."""
    random.seed(SEED)
    written = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "int"}]}
    payload = container(written, "null", (1, b"\2"))
    for i in range(SCHEMAS):
        maker = Maker()
        type = maker.schema()
        given, expected = maker.datum(type)
        reader = json.dumps({"type": "record", "name": "r", "fields": [
            {"name": "id", "type": "int"}, {"name": "x", "type": type, "default": as_default(type, given)}]})
        db.execute(f"CREATE FOREIGN TABLE reader{i} (doc jsonb OPTIONS (path '$'), x jsonb) SERVER s OPTIONS "
                   "(topic 't', format 'avro', avro_framing 'container', avro_schema $r$" + reader + "$r$)")
        doc, x = db.execute(f"SELECT doc::text, x::text FROM kafka.decode(NULL::reader{i}, %s)", (payload,)).fetchone()
        assert same(json.loads(doc, parse_float=decimal.Decimal), {"id": 1, "x": expected}), reader
        x = None if x is None else json.loads(x, parse_float=decimal.Decimal)
        assert same(x, expected), reader


def same(found, expected):
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], v) for k, v in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return float(found) == expected
    return found == expected and isinstance(found, bool) == isinstance(expected, bool)


def test_logical_types(db):
    fields = {"d": ("int", "date"), "tm": ("int", "time-millis"), "tu": ("long", "time-micros"),
              "am": ("long", "timestamp-millis"), "au": ("long", "timestamp-micros")}
    text = json.dumps({"type": "record", "name": "r", "fields": [
        {"name": n, "type": {"type": base, "logicalType": name}} for n, (base, name) in fields.items()]})
    db.execute("CREATE FOREIGN TABLE logical (d date, tm time, tu time, am timestamptz, au timestamptz) "
               f"SERVER s OPTIONS (topic 't', format 'avro', avro_schema '{text}')")
    schema = avro.schema.parse(text)
    random.seed(SEED)
    for _ in range(300):
        at = datetime.datetime.fromtimestamp(random.randint(-2 ** 33, 2 ** 34), UTC) + \
            datetime.timedelta(microseconds=random.randrange(10 ** 6))
        whole = at.replace(microsecond=at.microsecond // 1000 * 1000)
        row = {"d": at.date(), "tm": whole.time(), "tu": at.time(), "am": whole, "au": at}
        assert db.execute("SELECT * FROM kafka.decode(NULL::logical, %s)",
                          (encode(schema, row),)).fetchone() == tuple(row.values())


def test_cut_off_anywhere(db):
    text = ('{"type": "record", "name": "r", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": '
            '{"type": "array", "items": "double"}}, {"name": "c", "type": ["null", "long"]}]}')
    db.execute("CREATE FOREIGN TABLE cut (a text, b float8[], c int) SERVER s OPTIONS (topic 't', "
               f"format 'avro', avro_schema '{text}')")
    whole = encode(avro.schema.parse(text), {"a": "text", "b": [0.5, 1.5], "c": 300})
    for end in range(len(whole)):
        with pytest.raises(Exception, match="invalid input for format avro"):
            db.execute("SELECT * FROM kafka.decode(NULL::cut, %s)", (whole[:end],))


def deflate(data):
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return z.compress(data) + z.flush()


CODECS = {
    "null": bytes, "deflate": deflate, "bzip2": bz2.compress, "xz": lambda data: lzma.compress(data, preset=0),
    "snappy": lambda data: snappy.compress(data) + struct.pack(">I", zlib.crc32(data)),
    # Without the length of what is packed in front, as Java's writers leave it.
    "zstandard": lambda data: (lambda z: z.compress(data) + z.flush())(zstandard.ZstdCompressor().compressobj())}
DOC = {"type": "record", "name": "r", "fields": [{"name": "n", "type": "int"}, {"name": "s", "type": "string"}]}


def container(schema, codec, *blocks):
    """blocks: (count, packed)."""
    def number(n):
        out = io.BytesIO()
        avro.io.BinaryEncoder(out).write_long(n)
        return out.getvalue()

    def string(s):
        return number(len(s)) + s

    mark = bytes(range(16))
    head = number(2) + string(b"avro.schema") + string(json.dumps(schema).encode()) + \
        string(b"avro.codec") + string(codec.encode()) + number(0)
    return b"Obj\1" + head + mark + b"".join(number(n) + string(packed) + mark for n, packed in blocks)


def test_codecs(db):
    """Blocks of all sizes come out as they went in; what was changed on the way is refused or is another text."""
    random.seed(SEED)
    schema = avro.schema.parse(json.dumps(DOC))
    rows = [{"n": n, "s": random.choice("abc") * random.choice([0, 1, 50, 5000])} for n in range(2000)]
    blocks = [rows[:1], rows[1:1000], rows[1000:]]
    expected = [(r["n"], r["s"]) for r in rows]
    read = "SELECT (doc->>'n')::int, doc->>'s' FROM kafka.decode(NULL::whole, %s)"
    for codec, pack in CODECS.items():
        whole = container(DOC, codec, *((len(b), pack(b"".join(encode(schema, r) for r in b))) for b in blocks))
        assert db.execute(read, (whole,)).fetchall() == expected, codec
        small = container(DOC, codec, (3, pack(b"".join(encode(schema, r) for r in rows[:3]))))
        for _ in range(200):
            at = random.randrange(len(small) - 60, len(small) - 16)
            broken = bytearray(small)
            broken[at] ^= 1 << random.randrange(8)
            try:
                found = db.execute(read, (bytes(broken),)).fetchall()
                assert found == expected[:3] or codec not in ("snappy", "xz"), (codec, at)
            except psycopg.Error as e:
                assert e.sqlstate in ("22P02", "22021"), e
        assert "ends" in error(db, container(DOC, codec, (1, pack(encode(schema, rows[0]))[:-1]))) or codec == "snappy"
    assert "has another checksum" in error(db, container(DOC, "snappy", (1, snappy.compress(b"\0\0") + b"abcd")))
    assert "a codec that is not known" in error(db, container(DOC, "brotli", (1, b"x")))


def error(db, payload):
    with pytest.raises(psycopg.Error) as e:
        db.execute("SELECT * FROM kafka.decode(NULL::whole, %s)", (payload,))
    return e.value.diag.message_detail


def test_bombs(db):
    """Little that unpacks to much: bytes, and rows of next to none."""
    for codec, pack in CODECS.items():
        if codec == "null":
            continue
        packed = pack(bytes(65 << 20))
        assert len(packed) < 4 << 20
        assert "unpack to more than" in error(db, container(DOC, codec, (1, packed))), codec
    # Neither do two that are within it alone.
    half = CODECS["zstandard"](bytes(33 << 20))
    schema = {"type": "fixed", "name": "f", "size": 33 << 20}
    assert "unpack to more than" in error(db, container(schema, "zstandard", (1, half), (1, half)))
    five = 5 << 20
    assert "more rows than" in error(db, container({"type": "boolean"}, "deflate", (five, deflate(bytes(five)))))
