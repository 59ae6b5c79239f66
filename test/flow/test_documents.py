"""msgpack and cbor against their Python libraries, on random documents."""

import datetime
import decimal
import json
import os
import random
import uuid

import cbor2
import msgpack
import pytest

from cluster import Cluster

DOCUMENTS = int(os.environ.get("KAFKA_ENGINE_DOCUMENTS", "1000"))
SEED = int(os.environ.get("KAFKA_ENGINE_ORACLE_SEED", "1"))
UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def db():
    with Cluster(preload=False) as cluster, cluster.connect() as connection:
        connection.execute("CREATE EXTENSION kafka_engine")
        connection.execute("CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'x:1')")
        for name in "msgpack", "cbor":
            connection.execute(f"""
                CREATE FOREIGN TABLE {name}_tree (doc jsonb OPTIONS (path '$')) SERVER s
                    OPTIONS (topic 't', format '{name}');
                CREATE FOREIGN TABLE {name}_typed (i bigint, n numeric, f double precision, t text,
                    b bytea, at timestamptz, u uuid, flag boolean, ints int[]) SERVER s
                    OPTIONS (topic 't', format '{name}')""")
        yield connection


def text():
    return "".join(random.choices("ab\u00e4\u20ac\U0001f600\"\\\n\t ", k=random.choice([0, 1, 5, 40, 300])))


def integer(low=-2 ** 63, high=2 ** 64 - 1):
    return max(low, min(high, random.choice([1, -1]) * random.getrandbits(random.randint(1, 64))))


def tree(depth=0):
    kind = random.randrange(8 if depth < 5 else 5)
    if kind > 5:
        return {text(): tree(depth + 1) for _ in range(random.choice([0, 1, 3, 20]))}
    return [None, random.random() < 0.5, integer(), text(), random.uniform(-1e9, 1e9),
            [tree(depth + 1) for _ in range(random.choice([0, 1, 3, 20]))] if kind == 5 else 0][kind]


def typed(big):
    at = datetime.datetime.fromtimestamp(random.randint(-2 ** 31, 2 ** 33), UTC) + \
        datetime.timedelta(microseconds=random.randrange(10 ** 6))
    n = random.randint(-10 ** 40, 10 ** 40) if big else integer()
    return {"i": integer(high=2 ** 63 - 1), "n": n, "f": random.choice([random.random(), 1e300, -0.5]),
            "t": text(), "b": random.randbytes(random.choice([0, 1, 300])), "at": at,
            "u": random.randbytes(16), "flag": random.random() < 0.5,
            "ints": [integer(-2 ** 31, 2 ** 31 - 1) for _ in range(3)]}


@pytest.mark.parametrize("name, pack", [
    ("msgpack", lambda v: msgpack.packb(v, datetime=True)),
    ("cbor", lambda v: cbor2.dumps(v, canonical=random.random() < 0.5,
                                   timezone=UTC, datetime_as_timestamp=random.random() < 0.5))])
def test_as_their_libraries(db, name, pack):
    random.seed(SEED)
    for _ in range(DOCUMENTS):
        document = {"doc": tree(), text(): tree()}
        found, = db.execute(f"SELECT doc::text FROM kafka.decode(NULL::{name}_tree, %s)",
                            (pack(document),)).fetchone()
        assert json.loads(found) == document
        row = typed(name == "cbor")
        names = list(row)
        random.shuffle(names)
        found = db.execute(f"SELECT * FROM kafka.decode(NULL::{name}_typed, %s)",
                           (pack({k: row[k] for k in names}),)).fetchone()
        expected = {**row, "n": decimal.Decimal(row["n"]), "u": uuid.UUID(bytes=row["u"])}
        if name == "cbor":  # times as floating-point seconds: to the microsecond, nearly
            assert abs(found[5] - expected["at"]) <= datetime.timedelta(microseconds=1)
            found, expected = (*found[:5], *found[6:]), {k: v for k, v in expected.items() if k != "at"}
        assert found == tuple(expected.values())


@pytest.mark.parametrize("name, pack", [("msgpack", msgpack.packb), ("cbor", cbor2.dumps)])
def test_cut_off_anywhere(db, name, pack):
    """A document that ends too early is a refusal, wherever it ends."""
    random.seed(SEED)
    whole = pack({"i": 1, "t": "text", "f": 0.5, "b": b"bytes", "ints": [1, 2, 3], "x": {"y": [None]}})
    for end in range(len(whole)):
        with pytest.raises(Exception, match=f"invalid input for format {name}"):
            db.execute(f"SELECT * FROM kafka.decode(NULL::{name}_typed, %s)", (whole[:end],))
