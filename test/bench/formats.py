"""The same rows in each format, into a table by one lane, beside JSON, COPY and the format's best library alone.

The libraries (avro-c, libcbor, msgpack-c, libprotobuf, simdjson; Debian: libavro-dev, libcbor-dev, libmsgpack-dev,
libprotobuf-dev) are asked where their headers are there; a cell is empty where they are not, and for formats that
have none (csv, tsv, influx: COPY is beside them).
"""

import base64
import datetime
import json
import os
import struct
import subprocess

import cbor2
import msgpack
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from database import Database
from loads import COLUMNS, NAMES, Into
from measure import RECORDS

HERE = os.path.dirname(os.path.abspath(__file__))
UTC = datetime.timezone.utc
EPOCH = int(datetime.datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp())

AVRO = json.dumps({"type": "record", "name": "r", "fields": [
    {"name": "id", "type": "long"}, {"name": "name", "type": "string"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "note", "type": "string"}]})


def protobuf_types():
    f = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="r.proto", package="bench", syntax="proto3",
                                              dependency=["google/protobuf/timestamp.proto"])
    m = file.message_type.add(name="R")
    for n, (name, type) in enumerate((("id", f.TYPE_INT64), ("name", f.TYPE_STRING), ("at", f.TYPE_MESSAGE),
                                      ("amount", f.TYPE_STRING), ("note", f.TYPE_STRING)), 1):
        m.field.add(name=name, number=n, type=type, label=f.LABEL_OPTIONAL)
    m.field[2].type_name = ".google.protobuf.Timestamp"
    return descriptor_pb2.FileDescriptorSet(file=[file])


def fields(n):
    """What record(n) of loads.py says: id, name, seconds since 1970, whole amount, hundredths, note."""
    return (n, f"customer {n % 1000}", EPOCH + n % 28 * 86400 + n % 60 * 60 + n * 7 % 60, n % 10000, n % 100,
            f"{n:020}")


def time_text(seconds):
    d = datetime.datetime.fromtimestamp(seconds, UTC)
    return d.strftime("%Y-%m-%dT%H:%M:%SZ")


def long(n):
    n, out = n << 1 if n >= 0 else (~n << 1) + 1, b""
    while n > 127:
        out += bytes((n & 127 | 128,))
        n >>= 7
    return out + bytes((n,))


def avro(n):
    i, name, at, whole, rest, note = fields(n)
    amount = (whole * 100 + rest).to_bytes(4, "big")
    return b"".join((long(i), long(len(name)), name.encode(), long(at * 1000000), b"\x08", amount,
                     long(len(note)), note.encode()))


def texts(n):
    i, name, at, whole, rest, note = fields(n)
    return i, name, time_text(at), f"{whole}.{rest:02}", note


def of_json(n):
    return '{"id":%d,"name":"%s","at":"%s","amount":%s,"note":"%s"}' % texts(n)


def debezium(n):
    return ('{"before":null,"after":{"id":%d,"name":"%s","at":"%s","amount":"%s","note":"%s"},"source":{"db":"d",'
            '"table":"t"},"op":"c","ts_ms":1772359200000}' % texts(n))


def influx(n):
    i, name, at, whole, rest, note = fields(n)
    return f'r id={i}i,name="{name}",amount={whole}.{rest:02},note="{note}" {at}000000000'


def members(n):
    i, name, at, whole, rest, note = fields(n)
    return {"id": i, "name": name, "amount": f"{whole}.{rest:02}", "note": note}, at


def of_msgpack(n):
    row, at = members(n)
    row["at"] = msgpack.Timestamp(at)
    return msgpack.packb(row)


def of_cbor(n):
    row, at = members(n)
    row["at"] = cbor2.CBORTag(1, at)
    return cbor2.dumps(row)


def protobuf_writer():
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(protobuf_types().file[0])
    kind = message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName("bench.R"))

    def write(n):
        i, name, at, whole, rest, note = fields(n)
        m = kind(id=i, name=name, amount=f"{whole}.{rest:02}", note=note)
        m.at.seconds = at
        return m.SerializeToString()
    return write


def all_formats():
    """Format, its writer, its options, what its library must know."""
    types = protobuf_types().SerializeToString()
    encoded = base64.b64encode(types).decode()
    return [
        ("json", of_json, {}, b""),
        ("avro", avro, {"avro_schema": AVRO}, AVRO.encode()),
        ("protobuf", protobuf_writer(), {"protobuf_message": "bench.R", "protobuf_descriptor_set": encoded}, types),
        ("msgpack", of_msgpack, {}, b""),
        ("cbor", of_cbor, {}, b""),
        ("csv", lambda n: "%d,%s,%s,%s,%s" % texts(n), {}, b""),
        ("tsv", lambda n: "%d\t%s\t%s\t%s\t%s" % texts(n), {}, b""),
        ("influx", influx, {}, b""),
        ("debezium", debezium, {"decimals": "string"}, b""),
    ]


def library_program(out):
    with_headers = [(flag, library) for flag, header, library in (
        ("-DWITH_AVRO", "avro.h", "-lavro"), ("-DWITH_CBOR", "cbor.h", "-lcbor"),
        ("-DWITH_MSGPACK", "msgpack.h", "-lmsgpackc"),
        ("-DWITH_PROTOBUF", "google/protobuf/dynamic_message.h", "-lprotobuf"))
        if any(os.path.exists(os.path.join(d, header)) for d in ("/usr/include", "/usr/local/include"))]
    program = os.path.join(out, "libraries")
    subprocess.run(["g++", "-std=c++20", "-O2", "-o", program, os.path.join(HERE, "libraries.cpp"), "-lsimdjson"] +
                   [part for pair in with_headers for part in pair], check=True)
    return program


def library_alone(program, out, format, write, types):
    """(name, rows/s), or None."""
    payloads, known = os.path.join(out, "payloads"), os.path.join(out, "types")
    with open(payloads, "wb") as f:
        for n in range(RECORDS):
            p = write(n)
            p = p.encode() if isinstance(p, str) else p
            f.write(struct.pack("<I", len(p)) + p)
    with open(known, "wb") as f:
        f.write(types)
    said = subprocess.run([program, format, payloads, known], check=True, capture_output=True, text=True).stdout
    os.remove(payloads)
    if not said:
        return None
    name, rate = said.strip().split("|")
    return name, float(rate)


def formats(bench):
    all = all_formats()
    program = library_program(bench.out)
    alone = {name: library_alone(program, bench.out, name, write, types) for name, write, _, types in all}
    with Database(bench.cluster) as db:
        topics = {name: bench.fill(RECORDS, 4, write) for name, write, _, _ in all}
        into = Into(bench, db, topics["json"], COLUMNS, NAMES, RECORDS)
        into.write_files()
        cases, sums = into.copies("csv"), set()
        for name, _, options, _ in all:
            at = "time" if name == "influx" else "at"
            columns = COLUMNS.replace("at timestamptz", f"{at} timestamptz")
            listed = NAMES.replace("at", f"{at} AS at", 1) if at != "at" else NAMES
            db.topic_table(f"records_{name}", columns, bench.broker, topics[name], format=name, **options)
            sums.add(db.row(f"SELECT count(*), sum(id), sum(amount), sum(extract(epoch FROM {at})), "
                            f"sum(length(name) + length(note)) FROM records_{name}"))
            cases.append(into.view(f"view, {name}", f"SELECT {listed} FROM records_{name}"))
        assert len(sums) == 1, f"the formats do not hold the same rows: {sums}"
        bench.turns(db, cases)
        by_name = {c.name: c for c in cases}
        lines = []
        for c in cases:
            found = alone.get(c.name.removeprefix("view, "))
            lines.append([c.name, f"{c.median:.2f} ({min(c.seconds):.2f}, {max(c.seconds):.2f})", f"{c.rate:,.0f}",
                          f"{c.rate / by_name['COPY CSV'].rate:.2f}", f"{c.rate / by_name['view, json'].rate:.2f}",
                          f"{found[1]:,.0f} ({found[0]})" if found else ""])
        bench.write("formats", f"{RECORDS:,} records in each format, 4 partitions, one lane",
                    ["case", "seconds (least, most)", "rows/s", "x COPY CSV", "x JSON", "library alone, rows/s"], lines)
