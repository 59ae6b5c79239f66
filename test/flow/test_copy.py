"""csv and tsv against COPY FROM STDIN itself, on random payloads: the same rows, the same refusals."""

import os
import random

import psycopg
import pytest

from cluster import Cluster

PAYLOADS = int(os.environ.get("KAFKA_ENGINE_COPY_PAYLOADS", "1500"))
SEED = int(os.environ.get("KAFKA_ENGINE_ORACLE_SEED", "1"))

# Options of the table, COPY's own words for them, and what payloads are made of.
COMMON = ["\n", "\n", "\r\n", "\r", "1", "-7", "x", "\u00e4", " ", "\\", "\\.", "\\N", '"', "'", ",", "\t"]
KINDS = {
    "csv": ("csv", {}, [",", ",", '"', '""', '"a"', "\\.\n"]),
    "csv_escape": ("csv", {"escape": "\\", "quote": "'", "null": "x"}, [",", ",", "'", "\\'", "''"]),
    "csv_odd": ("csv", {"delimiter": "\t", "quote": "\\", "header": "true"}, ["\t", "\t", "\\\\"]),
    "csv_match": ("csv", {"header": "match"}, ["a,b,c", ",", ","]),
    "tsv": ("tsv", {}, ["\t", "\t", "\\t", "\\x4", "\\x", "\\101", "\\303\\244", "\\377", "\\0", "\\."]),
    "tsv_pipe": ("tsv", {"delimiter": "|", "null": "\\", "header": "true"}, ["|", "|", "\\|", "\\\\"]),
}


@pytest.fixture(scope="module")
def db():
    with Cluster(preload=False) as cluster, cluster.connect() as connection:
        connection.execute("CREATE EXTENSION kafka_engine")
        connection.execute("CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'x:1')")
        connection.execute("CREATE TABLE stored (n serial, a text, b int, c text)")
        yield connection


def payload(pieces, columns):
    """Random pieces; often lines of the right number of fields, that both sides may come far."""
    if random.random() < 0.4:
        return "".join(random.choices(pieces, k=random.randint(1, 14)))
    delimiter, end = pieces[-1], random.choice(["\n", "\r\n", "\r"])
    lines = []
    for _ in range(random.randint(1, 4)):
        fields = [random.choice(["x", "", "\u00e4", random.choice(pieces)]) for _ in range(columns)]
        fields[1] = random.choice(["1", "-20", "1", "", "\\N", "one"])
        lines.append(delimiter.join(fields))
    return end.join(lines) + random.choice(["", end])


def by_copy(db, options, text):
    try:
        with db.transaction(force_rollback=True):
            with db.cursor().copy(f"COPY stored (a, b, c) FROM STDIN ({options})") as copy:
                copy.write(text)
            return db.execute("SELECT a, b, c FROM stored ORDER BY n").fetchall()
    except psycopg.Error as e:
        return e.sqlstate, e.diag.message_primary


def by_decode(db, name, text):
    try:
        return db.execute(f"SELECT * FROM kafka.decode(NULL::{name}, %s)", (text.encode(),)).fetchall()
    except psycopg.Error as e:
        message = e.diag.message_primary
        return e.sqlstate, message.split('": ', 1)[1] if message.startswith('column "') and \
            not message.startswith("column name") else message


@pytest.mark.parametrize("kind", KINDS)
def test_as_copy(db, kind):
    format_name, given, more = KINDS[kind]
    random.seed(SEED)
    literal = {k: "E'" + v.replace("\\", "\\\\").replace("'", "\\'") + "'" for k, v in given.items()}
    db.execute(f"""CREATE FOREIGN TABLE {kind} (a text, b int, c text) SERVER s OPTIONS (topic 't',
                   format '{format_name}' {''.join(f", {k} {v}" for k, v in literal.items())})""")
    copy_options = ", ".join([f"FORMAT {'csv' if format_name == 'csv' else 'text'}"] + [
        f"{k} {given[k] if k == 'header' else v}" for k, v in literal.items()])
    delimiter = given.get("delimiter", "," if format_name == "csv" else "\t")
    pieces = COMMON + more + [delimiter]
    rows = refused = 0
    for _ in range(PAYLOADS):
        text = payload(pieces, 3)
        if given.get("header") == "match" and random.random() < 0.7:
            text = "a,b,c\n" + text
        expected, found = by_copy(db, copy_options, text), by_decode(db, kind, text)
        if isinstance(expected, tuple) and isinstance(found, tuple) and \
                (expected[0] == "22021" or found[0] != expected[0]):
            # COPY names the bytes; and of two faults in one payload it may meet the other one first.
            expected = found
        assert found == expected, repr(text)
        rows += isinstance(expected, list) and len(expected)
        refused += not isinstance(expected, list)
    print(f"{kind}: {rows} rows, {refused} payloads refused")
    assert rows > PAYLOADS / 20 and refused > PAYLOADS / 10
