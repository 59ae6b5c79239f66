"""protobuf against its Python library, on random types and messages; what its format does with options."""

import base64
import datetime
import decimal
import json
import math
import os
import random
import struct
import tempfile

import pytest
from google.protobuf import (any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, json_format, message_factory,
                             struct_pb2, timestamp_pb2, wrappers_pb2)

from psycopg import Error as db_error

from cluster import Cluster
from registry import Registry

SCHEMAS = int(os.environ.get("KAFKA_ENGINE_PROTOBUF_SCHEMAS", "150"))
SEED = int(os.environ.get("KAFKA_ENGINE_ORACLE_SEED", "1"))
F = descriptor_pb2.FieldDescriptorProto
UTC = datetime.timezone.utc
SCALARS = [getattr(F, "TYPE_" + n) for n in (
    "DOUBLE FLOAT INT64 UINT64 INT32 FIXED64 FIXED32 BOOL STRING BYTES UINT32 SFIXED32 SFIXED64 SINT32 SINT64").split()]
KEYS = [t for t in SCALARS if t not in (F.TYPE_DOUBLE, F.TYPE_FLOAT, F.TYPE_BYTES)]
KNOWN = {".google.protobuf." + c.DESCRIPTOR.name: c for c in (
    timestamp_pb2.Timestamp, duration_pb2.Duration, struct_pb2.Struct, any_pb2.Any, wrappers_pb2.Int64Value,
    wrappers_pb2.StringValue, wrappers_pb2.BoolValue, wrappers_pb2.DoubleValue)}


@pytest.fixture(scope="module")
def db():
    with Cluster(preload=False) as cluster, cluster.connect() as connection:
        connection.execute("CREATE EXTENSION kafka_engine")
        connection.execute("CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'x:1')")
        yield connection


class Maker:
    """A random file of message types."""

    def __init__(self, number):
        self.numbers = 0
        self.file = descriptor_pb2.FileDescriptorProto(
            name=f"test{number}.proto", package=f"p{number}", syntax=random.choice(["proto2", "proto3"]),
            dependency=[f"google/protobuf/{n}.proto" for n in ("timestamp", "duration", "struct", "any", "wrappers")])
        enum = self.file.enum_type.add(name="Colour")
        for i, name in enumerate(("NONE", "RED", "GREEN")):
            enum.value.add(name=name, number=i * 5)
        self.message(self.file.message_type.add(name="M"), f".p{number}.M", 0)
        self.set = descriptor_pb2.FileDescriptorSet(file=[self.file])

    def message(self, m, full, depth):
        proto3 = self.file.syntax == "proto3"
        for _ in range(random.randint(1, 7)):
            self.numbers += 1
            number = self.numbers if random.random() < 0.9 else 1000 + self.numbers
            f = m.field.add(name=f"f_{self.numbers}", number=number, label=F.LABEL_OPTIONAL)
            what = random.randrange(10 if depth < 3 else 8)
            f.type = random.choice(SCALARS)
            if what == 5:
                f.type, f.type_name = F.TYPE_ENUM, f".p{self.file.package[1:]}.Colour"
            elif what == 6:
                f.type, f.type_name = F.TYPE_MESSAGE, random.choice(list(KNOWN))
            elif what == 7:  # a map
                entry = m.nested_type.add(name=f"F{self.numbers}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=F.LABEL_OPTIONAL, type=random.choice(KEYS))
                entry.field.add(name="value", number=2, label=F.LABEL_OPTIONAL, type=random.choice(SCALARS))
                f.type, f.type_name, f.label = F.TYPE_MESSAGE, f"{full}.{entry.name}", F.LABEL_REPEATED
                continue
            elif what > 7:
                inner = m.nested_type.add(name=f"N{self.numbers}")
                self.message(inner, f"{full}.{inner.name}", depth + 1)
                f.type, f.type_name = F.TYPE_MESSAGE, f"{full}.{inner.name}"
            if random.random() < 0.3:
                f.label = F.LABEL_REPEATED
            elif len(m.field) > 1 and m.field[-2].HasField("oneof_index") and random.random() < 0.7:
                f.oneof_index = 0
            elif random.random() < 0.3 and not m.oneof_decl:
                m.oneof_decl.add(name="one")
                f.oneof_index = 0
            elif not proto3 and f.type == F.TYPE_INT32 and random.random() < 0.5:
                f.default_value = "-7"

    def value(self, f):
        return {
            F.TYPE_DOUBLE: lambda: random.choice([0.0, -1.5, 1e300, math.inf, random.random()]),
            F.TYPE_FLOAT: lambda: struct.unpack("f", struct.pack("f", random.uniform(-1e9, 1e9)))[0],
            F.TYPE_BOOL: lambda: random.random() < 0.5,
            F.TYPE_STRING: lambda: "".join(random.choices("ab\u00e4\u20ac\"\\\n", k=random.randint(0, 9))),
            F.TYPE_BYTES: lambda: random.randbytes(random.randint(0, 9)),
            F.TYPE_ENUM: lambda: random.choice([0, 5, 10]),
        }.get(f.type, lambda: self.integer(f.type))()

    @staticmethod
    def integer(type):
        bits = 32 if type in (F.TYPE_INT32, F.TYPE_UINT32, F.TYPE_FIXED32, F.TYPE_SFIXED32, F.TYPE_SINT32) else 64
        n = random.getrandbits(random.randint(1, bits))
        unsigned = type in (F.TYPE_UINT32, F.TYPE_FIXED32, F.TYPE_UINT64, F.TYPE_FIXED64)
        return n if unsigned else n - 2 ** bits if n >= 2 ** (bits - 1) else n

    def fill(self, m, depth=0):
        known = KNOWN.get("." + m.DESCRIPTOR.full_name)
        if known:
            return self.fill_known(m)
        for f in m.DESCRIPTOR.fields:
            if random.random() < 0.3:
                continue
            if is_map(f):
                key, value = (f.message_type.fields_by_name[n] for n in ("key", "value"))
                for _ in range(random.randint(0, 3)):
                    getattr(m, f.name)[self.value(key)] = self.value(value)
            elif f.label == F.LABEL_REPEATED:
                for _ in range(random.randint(0, 4)):
                    if f.message_type:
                        self.fill(getattr(m, f.name).add(), depth + 1)
                    else:
                        getattr(m, f.name).append(self.value(f))
            elif f.message_type:
                getattr(m, f.name).SetInParent()
                self.fill(getattr(m, f.name), depth + 1)
            else:
                setattr(m, f.name, self.value(f))
        return m

    def fill_known(self, m):
        name = m.DESCRIPTOR.name
        if name in ("Timestamp", "Duration"):
            m.seconds = random.randint(-10 ** 9, 10 ** 9)
            m.nanos = random.randrange(10 ** 6) * 1000
            if name == "Duration" and m.seconds < 0:
                m.nanos = -m.nanos
        elif name == "Struct":
            given = struct_pb2.Struct()
            given.update({"a": None, "b": [1.5, True, {"c": "x"}], "d": {}})
            m.ParseFromString(given.SerializeToString())
        elif name == "Any":
            m.type_url = "type.googleapis.com/google.protobuf.Timestamp"
            m.value = timestamp_pb2.Timestamp(seconds=5).SerializeToString()
        elif random.random() < 0.8:
            m.value = {"Int64Value": 2 ** 40, "StringValue": "x", "BoolValue": True, "DoubleValue": 2.5}[name]


def is_map(f):
    return f.message_type is not None and f.message_type.GetOptions().map_entry


def timestamp(m):
    return (datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(
        seconds=m.seconds, microseconds=m.nanos // 1000)).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def plain(f, v):
    if f.type == F.TYPE_ENUM:
        known = f.enum_type.values_by_number
        return known[v].name if v in known else v
    if f.type == F.TYPE_BYTES:
        return base64.b64encode(v).decode()
    if isinstance(v, float) and not math.isfinite(v):
        return "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"
    return v


def as_json(m):
    """What a message should become in jsonb."""
    name = m.DESCRIPTOR.name
    if "." + m.DESCRIPTOR.full_name in KNOWN:
        if name == "Timestamp":
            return timestamp(m)
        if name == "Duration":
            us = m.seconds * 10 ** 6 + m.nanos // 1000
            return f"{'-' if us < 0 else ''}{abs(us) // 10 ** 6}.{abs(us) % 10 ** 6:06}s"
        if name == "Struct":
            return json_format.MessageToDict(struct_pb2.Struct.FromString(m.SerializeToString()))
        if name == "Any":
            return {"@type": m.type_url, "value": "1970-01-01 00:00:05.000000+00"} if m.type_url else {}
        return plain(m.DESCRIPTOR.fields_by_name["value"], m.value)
    out = {}
    for f in m.DESCRIPTOR.fields:
        v = getattr(m, f.name)
        if is_map(f):
            of = f.message_type.fields_by_name["value"]
            out[f.name] = {str(k).lower() if isinstance(k, bool) else str(k): plain(of, x) for k, x in v.items()}
        elif f.label == F.LABEL_REPEATED:
            out[f.name] = [as_json(x) if f.message_type else plain(f, x) for x in v]
        elif f.message_type:
            if m.HasField(f.name):
                out[f.name] = as_json(v)
        elif not f.has_presence or m.HasField(f.name) or f.has_default_value:
            out[f.name] = plain(f, v)
    return out


def same(found, expected):
    if isinstance(expected, dict):
        return isinstance(found, dict) and found.keys() == expected.keys() and all(
            same(found[k], v) for k, v in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(same(a, b) for a, b in zip(found, expected))
    if isinstance(expected, float) and not isinstance(found, str):
        return math.isclose(float(found), expected, rel_tol=1e-6)
    if isinstance(expected, str) and isinstance(found, str) and expected.endswith("+00"):
        return found.replace(".000000+00", "+00") == expected.replace(".000000+00", "+00")
    return found == expected


def table(db, name, columns, file_set, message):
    encoded = base64.b64encode(file_set.SerializeToString()).decode()
    db.execute(f"CREATE FOREIGN TABLE {name} ({columns}) SERVER s OPTIONS (topic 't', format 'protobuf', "
               f"protobuf_message '{message}', protobuf_descriptor_set '{encoded}')")


def class_of(file, message):
    pool = descriptor_pool.DescriptorPool()
    for c in (timestamp_pb2, duration_pb2, struct_pb2, any_pb2, wrappers_pb2):
        pool.AddSerializedFile(c.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(message))


def test_random_types(db):
    random.seed(SEED)
    for i in range(SCHEMAS):
        maker = Maker(i)
        table(db, f"one{i}", "doc jsonb OPTIONS (path '$')", maker.set, f"p{i}.M")
        kind = class_of(maker.file, f"p{i}.M")
        for _ in range(5):
            message = maker.fill(kind())
            payload = message.SerializeToString()
            if random.random() < 0.3:  # merged by reading them in a row
                other = maker.fill(kind())
                payload += other.SerializeToString()
                message = kind.FromString(payload)
            found, = db.execute(f"SELECT doc::text FROM kafka.decode(NULL::one{i}, %s)", (payload,)).fetchone()
            found = json.loads(found)
            assert same(found, as_json(message)), (maker.file, found, as_json(message))
        for cut in range(0, len(payload), max(len(payload) // 20, 1)):  # never more than an error
            try:
                db.execute(f"SELECT * FROM kafka.decode(NULL::one{i}, %s)", (payload[:cut],))
            except db_error as e:
                assert e.sqlstate in ("22P02", "22021", "22008", "22P05")


def typed_file():
    f = descriptor_pb2.FileDescriptorProto(name="t.proto", package="p", syntax="proto3", dependency=[
        "google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/wrappers.proto"])
    f.enum_type.add(name="E").value.add(name="ZERO", number=0)
    f.enum_type[0].value.add(name="ONE", number=1)
    m = f.message_type.add(name="M")
    one = dict(label=F.LABEL_OPTIONAL)
    m.field.add(name="id", number=1, type=F.TYPE_INT64, **one)
    m.field.add(name="big", number=2, type=F.TYPE_FIXED64, **one)
    m.field.add(name="name", number=3, type=F.TYPE_STRING, **one)
    m.field.add(name="raw", number=4, type=F.TYPE_BYTES, **one)
    m.field.add(name="e", number=5, type=F.TYPE_ENUM, type_name=".p.E", **one)
    m.field.add(name="at", number=6, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", **one)
    m.field.add(name="took", number=7, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Duration", **one)
    m.field.add(name="w", number=8, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Int32Value", **one)
    m.field.add(name="tags", number=9, type=F.TYPE_STRING, label=F.LABEL_REPEATED)
    m.field.add(name="ns", number=10, type=F.TYPE_SINT32, label=F.LABEL_REPEATED)
    inner = m.nested_type.add(name="Inner")
    inner.field.add(name="x", number=1, type=F.TYPE_DOUBLE, **one)
    m.field.add(name="in_one", number=11, type=F.TYPE_MESSAGE, type_name=".p.M.Inner", **one, json_name="inOne")
    m.field.add(name="a", number=12, type=F.TYPE_INT32, oneof_index=0, **one)
    m.field.add(name="b", number=13, type=F.TYPE_STRING, oneof_index=0, **one)
    m.oneof_decl.add(name="one")
    return f


def test_columns(db):
    file = typed_file()
    table(db, "typed", """id bigint, big numeric, name text, raw bytea, e text, number int OPTIONS (path '$.e'),
          at timestamptz, took interval, w int, tags text[], ns int[], second int OPTIONS (path '$.ns[1]'),
          x float8 OPTIONS (path '$.inOne.x'), "inOne" jsonb, a int, b text""",
          descriptor_pb2.FileDescriptorSet(file=[file]), "p.M")
    kind = class_of(file, "p.M")
    m = kind(id=-5, big=2 ** 64 - 1, name="\u20ac", raw=b"\0\xff", e=1, tags=["a", "b,c"], ns=[1, -2], a=4)
    m.at.FromDatetime(datetime.datetime(2026, 11, 21, 10, 20, 30, 5))
    m.took.seconds, m.took.nanos = -1, -500000000
    m.w.SetInParent()
    m.in_one.x = 2.5

    def decode(payload):
        return db.execute("SELECT * FROM kafka.decode(NULL::typed, %s)", (payload,)).fetchone()

    at = datetime.datetime(2026, 11, 21, 10, 20, 30, 5, UTC)
    assert decode(m.SerializeToString()) == (
        -5, decimal.Decimal(2 ** 64 - 1), "\u20ac", b"\0\xff", "ONE", 1, at, datetime.timedelta(seconds=-1.5), 0,
        ["a", "b,c"], [1, -2], -2, 2.5, {"x": 2.5}, 4, None)
    assert decode(m.SerializeToString() + kind(b="z").SerializeToString())[-2:] == (None, "z")
    assert decode(kind().SerializeToString()) == (
        0, 0, "", b"", "ZERO", 0, None, None, None, [], [], None, None, None, None, None)
    unpacked = b"".join(b"\x50" + bytes([n]) for n in (2, 3))
    assert decode(unpacked)[10:12] == ([1, -2], -2)
    for bad in b"\x08", b"\x0a\x05a", b"\x0f", b"\x00", b"\x0b", b"\x0c", b"\x08" + b"\xff" * 11:
        with pytest.raises(db_error) as e:
            decode(bad)
        assert e.value.sqlstate == "22P02"
    with pytest.raises(db_error) as e:
        decode(b"\x1a\x01\xff")
    assert e.value.sqlstate == "22021"


def test_options(db):
    def error(options):
        with pytest.raises(db_error) as e:
            db.execute(f"CREATE FOREIGN TABLE no (a int) SERVER s OPTIONS (topic 't', format 'protobuf', {options})")
        return str(e.value)

    encoded = base64.b64encode(descriptor_pb2.FileDescriptorSet(file=[typed_file()]).SerializeToString()).decode()
    assert "needs protobuf_message" in error(f"protobuf_descriptor_set '{encoded}'")
    assert 'no message "p.X"' in error(f"protobuf_message 'p.X', protobuf_descriptor_set '{encoded}'")
    assert "not base64" in error("protobuf_message 'p.M', protobuf_descriptor_set '%'")
    assert "not a Protobuf schema" in error("protobuf_message 'p.M', protobuf_descriptor_set 'AAAA'")
    db.execute("CREATE FOREIGN TABLE no (a int) SERVER s OPTIONS (topic 't', format 'protobuf')")
    with pytest.raises(db_error) as e:
        db.execute("SELECT * FROM kafka.decode(NULL::no, '')")
    assert "needs a schema registry" in str(e.value)


def test_descriptor_set_in_a_file(db):
    """Who may name it; and that each statement takes it as it is."""
    def write(file, number):
        made = descriptor_pb2.FileDescriptorProto(name="p.proto", package="p", message_type=[
            descriptor_pb2.DescriptorProto(name="M", field=[
                F(name="a", number=number, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL)])])
        file.seek(0)
        file.write(descriptor_pb2.FileDescriptorSet(file=[made]).SerializeToString())
        file.flush()

    def refused(statement):
        with pytest.raises(db_error) as e:
            db.execute(statement)
        return e.value

    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o644)
        write(file, 1)
        create = ("CREATE FOREIGN TABLE filed (a int) SERVER s OPTIONS (topic 't', format 'protobuf', "
                  f"protobuf_message 'p.M', protobuf_descriptor_set_file '{file.name}')")
        db.execute("CREATE ROLE reader; GRANT USAGE ON FOREIGN SERVER s TO reader; GRANT CREATE ON SCHEMA public TO "
                   "reader; GRANT USAGE ON SCHEMA kafka TO reader; SET ROLE reader")
        assert refused(create).sqlstate == "42501"
        db.execute("RESET ROLE; GRANT pg_read_server_files TO reader; SET ROLE reader")
        db.execute(create)
        decode = "SELECT a FROM kafka.decode(NULL::filed, %s)"
        assert db.execute(decode, (b"\x08\x07",)).fetchone() == (7,)
        assert db.execute("SELECT kafka.encode(ROW(7)::filed)").fetchone() == (b"\x08\x07",)
        write(file, 2)
        assert db.execute(decode, (b"\x10\x08",)).fetchone() == (8,)
        db.execute("RESET ROLE; REVOKE pg_read_server_files FROM reader; SET ROLE reader")
        # The table is read on; but nobody else says anything about what stands beside the file.
        assert db.execute(decode, (b"\x10\x08",)).fetchone() == (8,)
        assert refused("ALTER FOREIGN TABLE filed OPTIONS (SET protobuf_message 'p.N')").sqlstate == "42501"
        db.execute("RESET ROLE")
        for option, says in (("SET protobuf_descriptor_set_file 'x'", "absolute path"),
                             ("ADD protobuf_descriptor_set 'AA=='", "exclude each other"),
                             ("DROP protobuf_message", "needs protobuf_message")):
            assert says in str(refused(f"ALTER FOREIGN TABLE filed OPTIONS ({option})"))
        file.truncate(1)
        for statement in "SELECT kafka.encode(ROW(7)::filed)", "SELECT * FROM kafka.decode(NULL::filed, '')":
            e = refused(statement)
            assert 'option "protobuf_descriptor_set", or its file, is not a Protobuf schema' in str(e)
            assert "--descriptor_set_out=" in e.diag.message_hint
    gone = refused("SELECT kafka.encode(ROW(7)::filed)")
    assert gone.sqlstate == "HV024" and gone.diag.message_detail == "No such file or directory."
    # Nobody writes to the pipe: its opening would wait for ever, and no statement_timeout ends it.
    db.execute("SET statement_timeout = '20s'")
    os.mkfifo(file.name)
    try:
        os.chmod(file.name, 0o644)
        pipe = refused("SELECT kafka.encode(ROW(7)::filed)")
    finally:
        os.unlink(file.name)
    assert pipe.sqlstate == "HV024" and pipe.diag.message_detail == "It is not a regular file."


def test_registry(db):
    with Registry() as registry:
        db.execute(f"CREATE SERVER r FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'x:1', "
                   f"schema_registry_url '{registry.url}', schema_registry_timeout '1s')")
        db.execute("CREATE FOREIGN TABLE framed (id int, name text, doc jsonb OPTIONS (path '$')) SERVER r "
                   "OPTIONS (topic 't', format 'protobuf')")
        registry.register("common", 'syntax = "proto3"; package c; message Money { int64 cents = 1; }',
                          type="PROTOBUF")
        number = registry.register("orders", """
            syntax = "proto3";
            package shop;
            import "money.proto";
            import "google/protobuf/timestamp.proto";
            import "nobody/has/options.proto";
            option (nobody.has) = true;
            message First { int32 id = 1; }
            message Second {
              string name = 1 [(nobody.has.field) = {a: 1}, deprecated = true];
              message Deep { c.Money price = 1; google.protobuf.Timestamp at = 2; }
              message Deeper { enum E { option allow_alias = true; A = 0; B = 0; } int32 id = 3; E e = 4; }
            }
            service S { rpc Get(First) returns (First); }""", type="PROTOBUF", references=[("money.proto", "common", 1)])

        def decode(payload, headers=None):
            return db.execute("SELECT id, name, doc FROM kafka.decode(NULL::framed, %s, headers => %s)",
                              (payload, headers)).fetchone()

        def framed(indexes, payload):
            return registry.frame(number, payload, indexes)

        assert decode(framed(b"\x00", b"\x08\x07")) == (7, None, {"id": 7})
        assert decode(framed(b"\x02\x02", b"\x0a\x01x")) == (None, "x", {"name": "x"})
        assert decode(framed(b"\x04\x02\x00", b"\x0a\x02\x08\x63"))[2] == {"price": {"cents": 99}}
        assert decode(framed(b"\x04\x02\x02", b"\x18\x05"))[::2] == (5, {"id": 5, "e": "A"})
        header = registry.header(number, indexes=b"\x02\x02")
        given = json.dumps([{"name": header[0], "value": base64.b64encode(header[1]).decode(), "base64": True}])
        assert decode(b"\x0a\x01y", given)[1] == "y"
        for indexes in b"\x02\x08", b"\x01", b"\x04\x02", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff":
            with pytest.raises(db_error) as e:
                decode(framed(indexes, b""))
            assert e.value.sqlstate == "22P02"
        broken = registry.register("broken", 'syntax = "proto3"; message A { Nothing b = 1; }', type="PROTOBUF")
        with pytest.raises(db_error) as e:
            decode(registry.frame(broken, b"\x00"))
        assert "not a Protobuf schema" in e.value.diag.message_detail



