"""Change events to live copies of the source's tables: histories of inserts, updates, deletes, changed keys
and values that events leave out, as the connectors of four databases write them, in random batches, with
workers killed. What the table holds at the end is compared with the history's own end."""

import base64
import json
import random
import re

import debezium
from test_crash import gone, reconnect, worker

PLACEHOLDER = "__debezium_unavailable_value"
COLUMNS = ("id int OPTIONS (source 'key'), name text, amount numeric(9, 2), day date, doc text, at timestamp,"
           " _op text, _unavailable text[]")
QUERY = "SELECT id, name, amount, day, upper(doc) AS doc, at FROM changes"


class History:
    """Changes of a table, one after the other: (op, key, before, after, left out). after is the whole row, as
    the source has it; an event leaves out the columns of the last set."""

    def __init__(self, seed, keys):
        self.random = random.Random(seed)
        self.keys = keys
        self.rows = {}
        self.changes = []

    def _row(self, key):
        r = self.random
        return {"id": key, "name": r.choice(["ann", "bob", "Ünïcode \"q\"", None]),
                "amount": r.choice([None, r.randrange(-10**6, 10**6)]),  # in hundredths
                "day": r.choice([None, r.randrange(0, 30000)]),
                "doc": r.choice([None, "d" * r.randrange(1, 30) + str(r.random())]),
                "at": r.randrange(0, 2 * 10**15)}

    def snapshot(self, rows):
        for key in range(rows):
            self._put("r", key, None, self._row(key), ())

    def _put(self, op, key, before, after, lost):
        self.changes.append((op, key, before, after, lost))
        if after is None:
            del self.rows[key]
        else:
            self.rows[key] = after

    def grow(self, count):
        """Until the history has count changes."""
        r = self.random
        while len(self.changes) < count:
            key = r.randrange(self.keys)
            before = self.rows.get(key)
            dice = r.random()
            if before is None:
                self._put("c", key, None, self._row(key), ())
            elif dice < 0.15:
                self._put("d", key, before, None, ())
            elif dice < 0.2:  # another key: the old row goes, a new one comes
                other = r.randrange(self.keys)
                if other not in self.rows:
                    self._put("d", key, before, None, ())
                    self._put("c", other, None, dict(before, id=other), ())
            else:
                after = self._row(key)
                lost = ("doc",) if r.random() < 0.6 else ()
                for column in lost:
                    after[column] = before[column]
                self._put("u", key, before, after, lost)

    def end(self):
        """As the view's query has it."""
        return {k: (row["name"], row["amount"], row["day"], row["doc"] and row["doc"].upper(), row["at"])
                for k, row in self.rows.items()}


def unscaled(n):
    if n is None:
        return None
    return base64.b64encode(n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True)).decode()


def record(key, value):
    return {"record": {"key": key, "value": value}}


def in_postgres(change):
    """pgoutput, REPLICA IDENTITY DEFAULT, converters without schemas."""
    op, key, before, after, lost = change
    row = after and dict(after, amount=unscaled(after["amount"]), **{c: PLACEHOLDER for c in lost})
    old = {"id": key, "name": None, "amount": None, "day": None, "doc": None, "at": 0} if op == "d" else None
    yield record({"id": key}, {
        "before": old, "after": row, "op": op, "ts_ms": 1, "transaction": None,
        "source": {"connector": "postgresql", "ts_ms": 1, "snapshot": "false", "table": "t", "lsn": 1}})
    if op == "d":
        yield record({"id": key}, None)


FIELDS = [{"type": "int32", "field": "id"}, {"type": "string", "optional": True, "field": "name"},
          {"type": "bytes", "optional": True, "field": "amount",
           "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}},
          {"type": "int32", "optional": True, "field": "day", "name": "io.debezium.time.Date"},
          {"type": "string", "optional": True, "field": "doc"},
          {"type": "int64", "field": "at", "name": "io.debezium.time.MicroTimestamp"}]


def in_mysql(change):
    """The binary log has whole rows; converters with schemas."""
    op, key, before, after, _ = change
    rows = [row and dict(row, amount=unscaled(row["amount"])) for row in (before, after)]
    schema = {"type": "struct", "name": "s.d.t.Envelope", "fields": [
        {"type": "struct", "field": f, "fields": FIELDS, "optional": True} for f in ("before", "after")]}
    yield record({"schema": {"type": "struct", "fields": FIELDS[:1]}, "payload": {"id": key}}, {
        "schema": schema, "payload": {
            "before": rows[0], "after": rows[1], "op": op, "ts_ms": 1,
            "source": {"connector": "mysql", "ts_ms": 1, "file": "bin.1", "pos": 4, "row": 0, "gtid": None}}})
    if op == "d":
        yield record({"schema": {"type": "struct", "fields": FIELDS[:1]}, "payload": {"id": key}}, None)


def in_sql_server(change):
    """Decimals as text, no tombstones, milliseconds as the connector has them for datetime."""
    op, key, before, after, _ = change
    rows = [row and dict(row, amount=row["amount"] and f"{row['amount'] / 100:.2f}") for row in (before, after)]
    yield record({"id": key}, {
        "before": rows[0], "after": rows[1], "op": op, "ts_ms": 1,
        "source": {"connector": "sqlserver", "ts_ms": 1, "change_lsn": "0:1:2", "commit_lsn": "0:1:3"}})


def in_mongodb(change):
    """The document in extended JSON, in a string; nothing of the row before."""
    op, key, _, after, lost = change
    document = None
    if after and not lost:
        document = {"_id": key, "name": after["name"], "doc": after["doc"], "day": after["day"],
                    "amount": after["amount"] and {"$numberDecimal": f"{after['amount'] / 100:.2f}"},
                    "at": {"$date": after["at"] // 1000}}
    yield record({"id": str(key)}, {
        "before": None, "after": document and json.dumps(document), "op": op, "ts_ms": 1,
        "updateDescription": None, "source": {"connector": "mongodb", "ts_ms": 1, "ord": 1}})
    if op == "d":
        yield record({"id": str(key)}, None)


def as_stored(db):
    rows = db.rows("SELECT id, name, amount, day, doc, at FROM live")
    found = {}
    for key, name, amount, day, doc, at in rows:
        hundredths = None if amount is None else int(amount * 100)
        days = None if day is None else day.toordinal() - 719163
        micro = int((at - at.min).total_seconds()) * 10**6 + at.microsecond - 719162 * 86400 * 10**6
        found[key] = (name, hundredths, days, doc, micro)
    return found


def compare(found, wanted):
    wrong = {k: (found.get(k), wanted.get(k)) for k in set(found) | set(wanted)
             if found.get(k) != wanted.get(k)}
    assert not wrong, (len(wrong), list(wrong.items())[:3])


def test_a_hundred_thousand_changes_are_a_live_copy(db, kafka, new_topic, produce, cluster):
    topic = new_topic(partitions=3)
    db.topic_table("changes", COLUMNS, kafka, topic=topic, format="debezium", key_format="debezium")
    db.view("live", QUERY, key="id")
    assert db.row("SELECT options->>'on_conflict', options->>'delete_when' FROM kafka.views") == (
        "update", "coalesce(_op, 'd') IN ('d', 't', 'm')")
    history = History("postgres", 3000)
    history.snapshot(2000)
    rng = random.Random(5)
    sent = 0
    while len(history.changes) < 100_000:
        history.grow(min(100_000, len(history.changes) + rng.choice([1, 100, 5000, 20000])))
        rows = rng.choice([1, 50, 1000, 65536]) if len(history.changes) - sent < 1000 else 65536
        db.execute(f"ALTER MATERIALIZED VIEW live SET (kafka.batch_rows = {rows})")
        records = [r for c in history.changes[sent:] for r in in_postgres(c)]
        if sent == 0:  # what changes no row
            records += [record(None, {"op": "t", "source": {"ts_ms": 1}, "ts_ms": 1}),
                        record({"prefix": "p"}, {"op": "m", "source": {"ts_ms": 1}, "message": {}})]
        produce(topic, records)
        sent = len(history.changes)
        if rng.random() < 0.5:
            db.execute("SELECT pg_terminate_backend(%s)", [worker(db)])
        elif rng.random() < 0.3:
            cluster.kill_process(worker(db))
            gone(db)
            reconnect(db)
    db.wait("live")
    compare(as_stored(db), history.end())
    assert db.row("SELECT state, rejects FROM kafka.views") == ("running", 0)
    # Made anew in one go it is the same.
    db.execute("REFRESH MATERIALIZED VIEW live")
    compare(as_stored(db), history.end())


def test_other_sources(db, kafka, new_topic, produce):
    sources = {
        "mysql": (in_mysql, COLUMNS, QUERY, {"key_format": "debezium"}, 1),
        "sqlserver": (in_sql_server, COLUMNS, QUERY, {"key_format": "json", "decimals": "string"}, 1),
        "mongodb": (in_mongodb, COLUMNS, QUERY, {"key_format": "debezium"}, 1000)}
    for source, (envelope, columns, query, options, precision) in sources.items():
        topic = new_topic(partitions=2)
        db.topic_table("changes", columns, kafka, topic=topic, format="debezium", **options)
        db.view("live", query, key="id", batch_rows=97)
        history = History(source, 60)
        history.snapshot(20)
        history.grow(2000)
        if source == "mongodb":  # an update without its document changes nothing
            for n, (op, key, before, after, lost) in enumerate(history.changes):
                if lost:
                    history.changes[n] = ("u", key, before, before, lost)
            # what a lost update leaves is what came before it
            state = {}
            for n, (op, key, before, after, lost) in enumerate(history.changes):
                if lost:
                    after = state[key]
                state[key] = after
            history.rows = {k: v for k, v in state.items() if v}
        produce(topic, [r for c in history.changes for r in envelope(c)])
        db.wait("live")
        wanted = {k: (*v[:4], v[4] // precision * precision) for k, v in history.end().items()}
        compare(as_stored(db), wanted)
        assert db.value("SELECT rejects FROM kafka.views") == 0, source
        db.execute("DROP FOREIGN TABLE changes CASCADE")


def test_what_is_said_where_columns_are_missing(db, kafka, topic, produce):
    db.topic_table("changes", "id int, doc text", kafka, topic=topic, format="debezium")
    e = db.error("CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.key = 'id') AS"
                 " SELECT * FROM changes")
    assert e.sqlstate == "42703" and "_op text" in e.diag.message_hint
    db.execute("ALTER FOREIGN TABLE changes ADD COLUMN _op text")
    # The key from the row, through a subquery; _op is no column of the query.
    db.view("v", "SELECT s.id, s.doc FROM (SELECT id, doc FROM changes) s", key="id")
    event = {"op": "u", "before": None, "after": {"id": 1, "doc": "a"}, "source": {"ts_ms": 1}}
    produce(topic, [event, dict(event, after={"id": 2, "doc": PLACEHOLDER}),
                    dict(event, after={"id": 3, "doc": "c"}), dict(event, op="d", before={"id": 3}), None])
    db.wait("v")
    assert db.rows("SELECT * FROM v") == [(1, "a")]
    sqlstate, detail = db.row("SELECT sqlstate, detail FROM kafka.dead_letters")
    assert sqlstate == "22P02" and "_unavailable text[]" in detail
    # From now on nulls would stand for what is not sent: only a view that knows may store them.
    db.execute("ALTER FOREIGN TABLE changes ADD COLUMN _unavailable text[]")
    db.wait_state("v", "stopped")
    assert "_unavailable" in db.state("v")[1]
    db.execute("DROP MATERIALIZED VIEW v")
    db.view("v", "SELECT id, doc FROM changes", key="id")
    db.wait("v")
    assert db.rows("SELECT * FROM v ORDER BY id") == [(1, "a"), (2, None)]


def test_what_debeziums_own_engine_wrote(db, kafka, topic, produce):
    """The recording of test/lib/debezium.py, against the same statements run here."""
    with open(debezium.FIXTURE) as f:
        events = [json.loads(line) for line in f]
    columns = re.search(r"\(id int.*(?=,\s*PRIMARY)", debezium.TABLE, re.S).group()[1:]
    assert "ms timestamp(3)" in columns and "iv interval" in columns
    columns = columns.replace("any_n numeric", "any_n numeric(60, 0)")
    columns = columns.replace("id int,", "id int OPTIONS (source 'key'),")
    columns = columns.replace("part text,", "part text OPTIONS (source 'key'),")
    db.topic_table("changes", columns + ", _op text, _unavailable text[]", kafka, topic=topic,
                   format="debezium", key_format="debezium")
    names = ", ".join(db.column("SELECT attname FROM pg_attribute WHERE attrelid = 'changes'::regclass"
                                " AND attnum > 0 AND attname NOT LIKE '\\_%' ORDER BY attnum"))
    db.view("live", f"SELECT {names} FROM changes", key="id, part")
    produce(topic, [record(e["key"], e["value"]) for e in events])
    db.execute(debezium.TABLE)
    db.execute("INSERT INTO things VALUES " + debezium.ROW % {"id": 0})
    debezium.changes(db.connection)
    db.wait("live")
    # A month of an interval is a twelfth of 365.25 days in events.
    db.execute("UPDATE things SET iv = '37091106.7 s' WHERE iv IS NOT NULL")
    # The new key of a row comes without the large value, which is nowhere else then.
    assert db.rows("SELECT record_offset, column_name, message FROM kafka.dead_letters") == [
        (11, "large", "the value is not in the change event")]
    db.execute("DELETE FROM things WHERE id = 14")
    rows = [db.rows(f"SELECT id, ROW({names})::text FROM {t} ORDER BY id") for t in ("live", "things")]
    assert rows[0] == rows[1] and [r[0] for r in rows[0]] == [0, 1, 5, 6, 100]
