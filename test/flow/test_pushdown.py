"""Random WHERE clauses on a topic against the same clauses on a plain copy of it.

What is pushed must never leave out a record for which the clause is true; what it lets through beyond
that, the executor drops. So both sides must be equal, whatever the clause.
"""

import random

import pytest

ROUNDS = 250

COLUMNS = ("n int, _topic text, _partition int, _offset bigint, _timestamp timestamptz")
BASE_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC


@pytest.fixture
def copied(bare_db, kafka, new_topic, produce):
    """Two topics in table t, with times that jump about, and table copy with the same rows."""
    rng = random.Random(7)
    topics = [new_topic(n, retention_ms=-1) for n in (3, 2)]  # the times are long past
    for topic, partitions in zip(topics, (3, 2)):
        produce(topic, [
            {"record": {"value": '{"n": %d}' % n, "partition": rng.randrange(partitions),
                        "timestamp": BASE_MS + rng.randrange(100) * 1000 + n % 3}}
            for n in range(150)])
        produce(topic, [{"record": {"value": '{"n": 1}', "partition": 0, "timestamp": BASE_MS}}],
                transactional_id=topic)  # a marker behind the last record
    bare_db.topic_table("t", COLUMNS, kafka, ", ".join(topics))
    bare_db.execute("CREATE TABLE copy AS SELECT * FROM t")
    assert bare_db.value("SELECT count(*) FROM copy") == 302
    return topics


class Clauses:
    def __init__(self, seed, topics):
        self.rng = random.Random(seed)
        self.topics = topics
        self.parameters = {}

    def pick(self, *of):
        return self.rng.choice(of)

    def integer(self, low, high):
        value = self.pick(self.rng.randint(low, high), self.rng.randint(low, high),
                          self.rng.randint(low, high), low - 1, high + 1, -1)
        form = self.pick("{}", "{}", "{}", "{}::smallint", "{}::bigint", "{}::numeric", "({} + 0)",
                         "(SELECT {})", "NULL", "9223372036854775807", "parameter")
        if form == "parameter":
            name = f"p{len(self.parameters)}"
            self.parameters[name] = value
            return f"%({name})s::{self.pick('int', 'bigint')}"
        return form.format(f"({value})")

    def time(self):
        us = BASE_MS * 1000 + self.pick(self.rng.randint(-5, 105) * 1_000_000,
                                        self.rng.randint(0, 100_000_000))
        text = f"to_timestamp({us // 1_000_000}) + interval '{us % 1_000_000} us'"
        return self.pick(f"({text})", f"({text})", f"({text})::timestamp", "DATE '2026-01-01'",
                         "'infinity'::timestamptz", "'-infinity'::timestamptz", "'1960-01-01'::date",
                         "NULL::timestamptz", f"(SELECT {text})")

    def test(self):
        op = self.pick("=", "=", "<", "<=", ">", ">=", "<>")
        kind = self.pick("partition", "offset", "offset", "timestamp", "topic", "n", "array",
                         "between")
        if kind == "partition":
            return self.turn("_partition", op, self.integer(0, 2))
        if kind == "offset":
            return self.turn("_offset", op, self.integer(0, 60))
        if kind == "timestamp":
            return self.turn("_timestamp", op, self.time())
        if kind == "topic":
            return self.turn("_topic", op, self.pick(*[f"'{t}'" for t in self.topics], "'zzz'",
                                                     "''", "NULL::text"))
        if kind == "n":
            return self.pick("mod(n, 2) = 0", "n < 50", "_partition + _offset < 20", "n = _offset",
                             "_offset IS NOT NULL", "_partition = _offset")
        if kind == "between":
            return self.pick(
                f"_offset BETWEEN {self.integer(0, 60)} AND {self.integer(0, 60)}",
                f"_timestamp BETWEEN {self.time()} AND {self.time()}")
        column, high = self.pick(("_partition", 2), ("_offset", 60))
        items = ", ".join(self.integer(0, high) for _ in range(self.rng.randint(1, 4)))
        return self.pick(f"{column} IN ({items})", f"{column} NOT IN ({items})",
                         f"{column} {op} ANY (ARRAY[{items}]::bigint[])",
                         f"{column} {op} ALL (ARRAY[{items}]::bigint[])",
                         f"{column} {op} ANY ('{{}}'::bigint[])",
                         f"{column} {op} ALL ('{{}}'::bigint[])",
                         f"{column} {op} ANY (NULL::bigint[])",
                         f"_timestamp {op} ANY (ARRAY[{self.time()}, {self.time()}]::timestamptz[])")

    def turn(self, column, op, value):
        turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
        return self.pick(f"{column} {op} {value}", f"{column} {op} {value}",
                         f"{value} {turned} {column}")

    def clause(self, depth=0):
        shape = self.rng.random()
        if depth > 2 or shape < 0.35:
            return self.test()
        if shape < 0.45:
            return f"NOT ({self.clause(depth + 1)})"
        word = self.pick(" AND ", " OR ")
        return "(" + word.join(self.clause(depth + 1) for _ in range(self.rng.randint(2, 3))) + ")"


def test_random_clauses(bare_db, copied):
    pushed = 0
    bare_db.execute("SET TimeZone = 'America/St_Johns'")
    for seed in range(ROUNDS):
        made = Clauses(seed, copied)
        where = made.clause()
        query = f"SELECT _topic, _partition, _offset FROM RECORDS WHERE {where} ORDER BY 1, 2, 3"
        found, expected = (bare_db.execute(query.replace("RECORDS", table), made.parameters or None)
                           for table in ("t", "copy"))
        assert found == expected, f"seed {seed}: {where} {made.parameters}"
        if not made.parameters:
            plan = bare_db.column("EXPLAIN " + query.replace("RECORDS", "t"))
            pushed += any("Pushed" in line for line in plan)
    assert pushed > ROUNDS / 8  # else the test tests nothing


def test_random_correlated_clauses(bare_db, copied):
    """Values that come from outer rows, and change at each rescan."""
    for column, op in [("_offset", "="), ("_offset", "<"), ("_offset", ">="), ("_partition", "=")]:
        query = f"""SELECT v, (SELECT count(*) FROM {{0}} WHERE {column} {op} v)
                    FROM unnest(ARRAY[0, 1, NULL, 40, -1, 2]) v"""
        assert bare_db.execute(query.format("t")) == bare_db.execute(query.format("copy"))
    query = """SELECT v::text, (SELECT count(*) FROM {0} WHERE _timestamp > v OR _partition = 1)
               FROM unnest(ARRAY['2026-01-01 00:00:50+00', NULL, 'infinity', '-infinity',
                                 '2026-01-01 00:01+00']::timestamptz[]) v"""
    assert bare_db.execute(query.format("t")) == bare_db.execute(query.format("copy"))
