"""Formats whose schemas stand in a schema registry (test/lib/registry.py), on a real Kafka."""

import io
import json
import tempfile

import avro.io
import avro.schema
import pytest

from apicurio import Apicurio, Unavailable
from conftest import wait_until
from registry import Registry, make_certificates

ORDER = {"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "int"}, {"name": "item", "type": "string"}]}
# The same after a while: id widened, item renamed, a field added.
ORDER_2 = {"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "long"}, {"name": "thing", "type": "string", "aliases": ["item"]},
    {"name": "price", "type": ["null", "double"], "default": None},
    {"name": "currency", "type": "string", "default": "EUR"}]}


def encode(schema, datum):
    out = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(json.dumps(schema))).write(datum, avro.io.BinaryEncoder(out))
    return out.getvalue()


@pytest.fixture
def registry():
    with Registry() as r:
        yield r


def order(number, id, item):
    return Registry.frame(number, encode(ORDER, {"id": id, "item": item}))


def orders(db, kafka, topic, registry, columns="id bigint, item text", **options):
    db.topic_table("orders", columns, kafka, topic, format="avro",
                   server_options={"schema_registry_url": registry.url, "schema_registry_timeout": "1s"},
                   **options)


def test_a_topic_whose_schema_changes(db, kafka, topic, produce, registry):
    first, second = registry.register("orders-value", ORDER), registry.register("orders-value", ORDER_2)
    newer = {"id": 2 ** 40, "thing": "b", "price": 1.5, "currency": "USD"}
    produce(topic, [order(first, 1, "a"), Registry.frame(second, encode(ORDER_2, newer)),
                    {"record": {"value": encode(ORDER, {"id": 3, "item": "c"}),
                                "headers": [registry.header(first)]}}])
    orders(db, kafka, topic, registry, "id bigint, item text, thing text, price float8, currency text")
    assert db.rows("SELECT * FROM orders ORDER BY id") == [
        (1, "a", None, None, None), (3, "c", None, None, None), (2 ** 40, None, "b", 1.5, "USD")]
    # By the subject's newest schema: aliases find columns, defaults fill what was not written.
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (ADD schema_subject 'orders-value')")
    expected = [(1, "a", None, "EUR"), (3, "c", None, "EUR"), (2 ** 40, "b", 1.5, "USD")]
    assert db.rows("SELECT id, thing, price, currency FROM orders ORDER BY id") == expected
    db.view("v", "SELECT id, thing, price, currency FROM orders")
    db.wait("v")
    assert db.rows("SELECT * FROM v ORDER BY id") == expected
    # One that registered a moment ago, while the view runs.
    third = registry.register("orders-value", {**ORDER_2, "doc": "third"})
    produce(topic, [Registry.frame(third, encode(ORDER_2, newer))])
    db.wait("v")
    assert db.value("SELECT count(*) FROM v WHERE id = %s", [2 ** 40]) == 2
    assert db.rows("SELECT id, thing FROM kafka.decode(NULL::orders, %s)", [order(first, 7, "x")]) == [(7, "x")]


def test_more_schemas_than_are_kept(db, kafka, topic, registry):
    """Whoever writes messages chooses among all that a registry has: it is bounded what is kept of them."""
    numbers = [registry.register(f"s{i}", {**ORDER, "doc": f"{i}"} if i % 2 else {**ORDER_2, "doc": f"{i}"})
               for i in range(1100)]
    registry.register("orders-value", ORDER_2)

    def written(i):
        if i % 2:
            return order(numbers[i], i, f"i{i}")
        return Registry.frame(numbers[i], encode(ORDER_2, {"id": i, "thing": f"i{i}", "price": None, "currency": "X"}))

    chosen = [*range(1100), *(i for i in range(1100) for i in (i, 1, 2))]
    orders(db, kafka, topic, registry, "id bigint, thing text", schema_subject="orders-value")
    found = db.rows("SELECT o.id, o.thing FROM unnest(%s::bytea[]) WITH ORDINALITY p (payload, n),"
                    " kafka.decode(NULL::orders, p.payload) o ORDER BY p.n", [[written(i) for i in chosen]])
    assert found == [(i, f"i{i}") for i in chosen]


def test_the_login_is_lent_to_those_with_usage(db, kafka, topic, registry):
    """Whoever can name the row type may decode, but not have the registry asked by the server's login."""
    number = registry.register("orders-value", ORDER)
    orders(db, kafka, topic, registry)
    db.execute("ALTER FOREIGN TABLE orders OPTIONS (ADD schema_subject 'orders-value')")
    db.topic_table("plain", "id int", kafka, topic, format="json")
    server = db.value("SELECT srvname FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver"
                      " WHERE ftrelid = 'orders'::regclass")
    decode = "SELECT id FROM kafka.decode(NULL::orders, %s)", [order(number, 7, "x")]
    encode_row = "SELECT kafka.encode(ROW(7, 'x')::orders)"
    with db.role("stranger") as stranger:
        db.execute(f"GRANT USAGE ON SCHEMA kafka TO {stranger}; SET ROLE {stranger}")
        asked = len(registry.asked)
        for refused in db.error(*decode), db.error(encode_row):
            assert refused.sqlstate == "42501" and server in str(refused)
        assert len(registry.asked) == asked
        assert db.rows("SELECT id FROM kafka.decode(NULL::plain, '{\"id\": 3}')") == [(3,)]
        db.execute(f"RESET ROLE; GRANT USAGE ON FOREIGN SERVER {server} TO {stranger}; SET ROLE {stranger}")
        assert db.rows(*decode) == [(7,)]
        assert db.value(encode_row) == order(number, 7, "x")
        db.execute("RESET ROLE")


def test_references_and_keys(db, kafka, topic, produce, registry):
    registry.register("money", {"type": "record", "name": "Money", "namespace": "shop", "fields": [
        {"name": "cents", "type": "long"}]})
    line = registry.register("line", json.dumps({"type": "record", "name": "Line", "namespace": "shop", "fields": [
        {"name": "price", "type": "Money"}]}), references=[("shop.Money", "money", 1)])
    key = registry.register("key", '"string"')
    produce(topic, [{"record": {"key": Registry.frame(key, b"\x06abc"), "value": Registry.frame(line, b"\x0e")}}])
    orders(db, kafka, topic, registry, "price bigint OPTIONS (path '$.price.cents'), doc jsonb OPTIONS (path '$'), "
           "k text OPTIONS (source 'key', path '$')", key_format="avro")
    assert db.rows("SELECT * FROM orders") == [(7, {"price": {"cents": 7}}, "abc")]


def test_registry_away(db, kafka, new_topic, produce, registry):
    topic = new_topic(partitions=2)
    first = registry.register("orders-value", ORDER)
    orders(db, kafka, topic, registry)
    db.view("v", "SELECT id FROM orders")
    produce(topic, [order(first, 1, "a")], partition=0)
    db.wait_count("v", 1)
    second = registry.register("orders-value", {**ORDER, "doc": "second"})
    registry.answers = 503
    produce(topic, [order(second, 2, "b"), order(first, 3, "c")], partition=1)
    state, reason, error = db.wait_state("v", "retrying")
    assert registry.url in f"{reason} {error}" and "schema registry" in f"{reason} {error}"
    # What needs no answer goes on meanwhile.
    produce(topic, [order(first, 4, "d")], partition=0)
    db.wait_count("v", 2)
    e = db.error("SELECT * FROM orders")
    assert e.sqlstate == "HV00N" and "Out of order" in e.diag.message_detail
    assert db.error("SELECT * FROM kafka.decode(NULL::orders, %s)", [order(second, 2, "b")]).sqlstate == "HV00N"
    registry.answers = None
    db.wait_count("v", 4)
    assert db.value("SELECT count(*) FROM kafka.dead_letters") == 0
    db.wait_state("v", "running")
    later = db.connect()  # this session may have the trouble in mind for a moment yet
    assert [r[0] for r in later.execute("SELECT id FROM orders ORDER BY id")] == [1, 2, 3, 4]


def test_registry_hangs_and_ctrl_c_works(db, kafka, topic, produce, registry):
    number = registry.register("orders-value", ORDER)
    produce(topic, [order(number, 1, "a")])
    db.topic_table("orders", "id int, item text", kafka, topic, format="avro",
                   server_options={"schema_registry_url": registry.url, "schema_registry_timeout": "60s"})
    registry.hangs.clear()
    db.execute("SET statement_timeout = '300ms'")
    assert db.error("SELECT * FROM orders").sqlstate == "57014"
    assert db.error("SELECT * FROM kafka.decode(NULL::orders, %s)", [order(number, 1, "a")]).sqlstate == "57014"


def test_unknown_number(db, kafka, topic, produce, registry):
    first = registry.register("orders-value", ORDER)
    produce(topic, [order(first, 1, "a"), order(77, 2, "b"), b"no frame", order(first, 3, "c")])
    orders(db, kafka, topic, registry)
    db.view("v", "SELECT id FROM orders")
    db.wait("v")
    assert db.column("SELECT id FROM v ORDER BY id") == [1, 3]
    assert [(m, "schema 77" in d) for m, d in db.rows(
        "SELECT message, detail FROM kafka.dead_letters ORDER BY record_offset")] == [
        ("invalid input for format avro", True), ("invalid input for format avro", False)]
    # It turns up after all.
    registry.register("orders-value", {**ORDER, "doc": "late"}, number=77)
    wait_until(lambda: db.row("SELECT * FROM kafka.retry('v')")[1] == 1)
    assert db.column("SELECT id FROM v ORDER BY id") == [1, 2, 3]
    # A wrong kind of schema, and one that is none.
    registry.register("x", 'syntax = "proto3"; message A {}', type="PROTOBUF", number=5)
    registry.register("x", '{"type": "nothing"}', number=6)
    for number, words in (5, "not an Avro schema"), (6, "unknown type"):
        assert words in db.error("SELECT * FROM kafka.decode(NULL::orders, %s)",
                                 [order(number, 1, "")]).diag.message_detail


def test_logins(db, kafka, topic, produce):
    secret = "s3cr3t-of-the-registry"
    with tempfile.TemporaryDirectory() as directory, \
            Registry(user="me", password=secret, tls=make_certificates(directory)) as registry:
        def read(name):
            with open(f"{directory}/{name}") as f:
                return f.read()

        number = registry.register("orders-value", ORDER)
        produce(topic, [order(number, 1, "a")])
        orders(db, kafka, topic, registry, "id int, item text")
        server = db.value("SELECT srvname FROM pg_foreign_server")
        mapping = f"ALTER USER MAPPING FOR PUBLIC SERVER {server} OPTIONS "
        assert db.error("SELECT * FROM orders").sqlstate == "HV00N"  # its certificate is nobody's
        db.execute(f"ALTER SERVER {server} OPTIONS (ADD schema_registry_ssl_ca_pem '{read('ca.pem')}')")
        assert db.error("SELECT * FROM orders").sqlstate == "HV00N"  # it wants ours
        db.execute(mapping + f"(ADD schema_registry_ssl_certificate_pem '{read('client.pem')}', "
                   f"ADD schema_registry_ssl_key_pem '{read('client.key')}')")
        e = db.error("SELECT * FROM orders")
        assert e.sqlstate == "28000" and "refuses the login" in str(e)
        db.execute(mapping + f"(ADD schema_registry_username 'you', ADD schema_registry_password '{secret}')")
        e = db.error("SELECT * FROM orders")
        assert e.sqlstate == "28000" and secret not in str(e)
        db.view("v", "SELECT id FROM orders")
        assert secret not in str(db.wait_state("v", "retrying"))
        db.execute(mapping + "(SET schema_registry_username 'me')")
        assert db.rows("SELECT * FROM orders") == [(1, "a")]
        db.wait_count("v", 1)
    with Registry(token=secret) as registry:
        number = registry.register("orders-value", ORDER)
        db.execute(f"ALTER SERVER {server} OPTIONS (SET schema_registry_url 'http://localhost:1, {registry.url}/')")
        assert db.error("SELECT * FROM orders").sqlstate == "28000"
        db.execute(mapping + f"(ADD schema_registry_token '{secret}')")
        assert db.rows("SELECT * FROM orders") == [(1, "a")]


def test_protobuf_view(db, kafka, topic, produce, registry):
    first = registry.register("p", 'syntax = "proto3"; message A { int32 id = 1; }', type="PROTOBUF")
    second = registry.register("p", 'syntax = "proto3"; message A { int64 id = 1; string name = 2; '
                               'message B { int32 id = 1; } }', type="PROTOBUF")
    produce(topic, [Registry.frame(first, b"\x08\x01", b"\x00"),
                    Registry.frame(second, b"\x08\x80\x80\x80\x80\x10\x12\x01x", b"\x00"),
                    Registry.frame(second, b"\x08\x03", b"\x04\x00\x00"),
                    {"record": {"value": b"\x08\x04", "headers": [registry.header(first)]}},
                    Registry.frame(second, b"\x08", b"\x00")])
    db.topic_table("a", "id bigint, name text", kafka, topic, format="protobuf",
                   server_options={"schema_registry_url": registry.url})
    db.view("v", "SELECT * FROM a")
    db.wait("v")
    assert db.rows("SELECT * FROM v ORDER BY id") == [(1, None), (3, None), (4, None), (2 ** 32, "x")]
    assert db.column("SELECT detail FROM kafka.dead_letters") == [
        "The payload ends within a number, or it has more than ten bytes."]


def test_changes_in_avro(db, kafka, topic, produce, registry):
    def field(name, base, logical=None, **parameters):
        kind = {"type": base, "connect.name": logical, "connect.version": 1} if logical else base
        if parameters:
            kind["connect.parameters"] = {k: str(v) for k, v in parameters.items()}
        return {"name": name, "type": ["null", kind], "default": None}

    row = {"type": "record", "name": "Value", "fields": [
        {"name": "id", "type": "int"}, field("day", "int", "io.debezium.time.Date"),
        field("at", "long", "io.debezium.time.MicroTimestamp"),
        field("tz", "string", "io.debezium.time.ZonedTimestamp"),
        field("amount", "bytes", "org.apache.kafka.connect.data.Decimal", scale=2),
        field("flags", "bytes", "io.debezium.data.Bits", length=3),
        field("doc", "string", "io.debezium.data.Json"), field("raw", "bytes")]}
    envelope = {"type": "record", "name": "Envelope", "namespace": "srv.public.orders", "fields": [
        {"name": "before", "type": ["null", row], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": {"type": "record", "name": "Source", "fields": [
            {"name": "ts_ms", "type": "long"}, {"name": "lsn", "type": ["null", "long"]}]}},
        {"name": "op", "type": "string"}, {"name": "ts_ms", "type": ["null", "long"]}]}
    number = registry.register("orders-value", envelope)
    values = {"id": 1004, "day": 17424, "at": 1505459220123456, "tz": "2017-09-15T07:07:00.123456Z",
              "amount": b"\x04\xd2", "flags": b"\x05", "doc": '{"a": 1}', "raw": b"\0\xff"}
    source = {"ts_ms": 1505459220123, "lsn": 24023128}
    events = [{"before": None, "after": values, "source": source, "op": "c", "ts_ms": 5},
              {"before": {**values, "at": 9223372036825200000, "amount": None}, "after": None, "source": source,
               "op": "d", "ts_ms": None}]
    produce(topic, [Registry.frame(number, encode(envelope, e)) for e in events] + [None])
    db.topic_table("orders", "id int, day date, at timestamp, tz timestamptz, amount numeric(10, 2), flags bit(3), "
                   "doc jsonb, raw bytea, _op text, _source_lsn bigint", kafka, topic, format="debezium",
                   encoding="avro", server_options={"schema_registry_url": registry.url})
    db.execute("SET timezone = 'UTC'")
    assert db.rows("SELECT id, day::text, at::text, tz::text, amount::text, flags::text, doc, raw, _op, _source_lsn "
                   "FROM orders") == [
        (1004, "2017-09-15", "2017-09-15 07:07:00.123456", "2017-09-15 07:07:00.123456+00", "12.34", "101", {"a": 1},
         b"\0\xff", "c", 24023128),
        (1004, "2017-09-15", "infinity", "2017-09-15 07:07:00.123456+00", None, "101", {"a": 1}, b"\0\xff", "d",
         24023128), (None,) * 10]


def test_a_real_registry(db, kafka, new_topic, produce):
    """Apicurio's: what its own writers would register, with references, read, stored and written."""
    try:
        registry = Apicurio()
        with registry:
            avro_of_apicurio(db, kafka, new_topic(), produce, registry)
            protobuf_of_apicurio(db, kafka, new_topic(), produce, registry)
            json_of_apicurio(db, kafka, new_topic(), produce, registry)
    except Unavailable as e:
        pytest.skip(f"Apicurio's registry is not to be had: {e}")


def at(registry):
    return {"server_options": {"schema_registry_url": registry.url, "schema_registry_timeout": "1s"}}


def avro_of_apicurio(db, kafka, topic, produce, registry):
    def line(type, *more):
        return {"type": "record", "name": "Line", "namespace": "shop", "fields": [
            {"name": "id", "type": type}, {"name": "price", "type": "shop.Money"}, *more]}

    registry.register("money", {"type": "record", "name": "Money", "namespace": "shop", "fields": [
        {"name": "cents", "type": "long"}]})
    needs = [("shop.Money", "money", 1)]
    first = registry.register(f"{topic}-value", line("int"), references=needs)
    second = registry.register(f"{topic}-value", line("long", {"name": "n", "type": "int", "default": 5}),
                               references=needs)
    assert first != second
    db.topic_table("lines", "id bigint, price bigint OPTIONS (path '$.price.cents'), n int", kafka, topic,
                   format="avro", schema_subject=f"{topic}-value", **at(registry))
    produce(topic, [Registry.frame(first, b"\x02\x0e"), Registry.frame(second, b"\x04\x10\x0c"),
                    Registry.frame(987654, b"\x02")])
    db.view("line_view", "SELECT * FROM lines")
    db.wait("line_view")
    assert db.rows("SELECT * FROM line_view ORDER BY id") == [(1, 7, 5), (2, 8, 6)]
    assert "987654" in db.value("SELECT detail FROM kafka.dead_letters WHERE view = 'line_view'::regclass")
    assert db.value("SELECT kafka.encode(ROW(2, 8, 6)::lines)") == Registry.frame(second, b"\x04\x10\x0c")


def protobuf_of_apicurio(db, kafka, topic, produce, registry):
    registry.register("coins", 'syntax = "proto3"; package c; message Money { int64 cents = 1; }', type="PROTOBUF")
    number = registry.register(f"{topic}-value", """
        syntax = "proto3";
        package shop;
        import "coins.proto";
        import "google/protobuf/timestamp.proto";
        message First { int32 id = 1; }
        message Second { message Deep { int32 id = 1; c.Money price = 2; google.protobuf.Timestamp at = 3; } }
        """, type="PROTOBUF", references=[("coins.proto", "coins", 1)])
    db.topic_table("coins", "id int, price bigint OPTIONS (path '$.price.cents'), at timestamptz", kafka, topic,
                   format="protobuf", **at(registry))
    produce(topic, [Registry.frame(number, b"\x08\x07", b"\0"),
                    Registry.frame(number, b"\x08\x08\x12\x02\x08\x63\x1a\x00", b"\x04\x02\0")])
    assert db.rows("SELECT id, price, extract(epoch FROM at)::int FROM coins ORDER BY id") == [
        (7, None, None), (8, 99, 0)]
    db.execute("ALTER FOREIGN TABLE coins OPTIONS (ADD protobuf_message 'shop.Second.Deep')")
    made = db.value("SELECT kafka.encode(ROW(8, 99, 'epoch')::coins)")
    assert made.startswith(Registry.frame(number, b"", b"\x04\x02\0")), made
    assert db.rows("SELECT id, price FROM kafka.decode(NULL::coins, %s)", [made]) == [(8, 99)]


def json_of_apicurio(db, kafka, topic, produce, registry):
    registry.register("inner", {"type": "object", "properties": {"id": {"type": "integer"}}}, type="JSON")
    number = registry.register(f"{topic}-value", {"type": "object", "properties": {"a": {"$ref": "inner.json"}}},
                               type="JSON", references=[("inner.json", "inner", 1)])
    db.topic_table("documents", "a jsonb, _error text", kafka, topic, format="json_schema", **at(registry))
    produce(topic, [Registry.frame(number, b'{"a": {"id": 1}}'), Registry.frame(987654, b'{"a": 1}')])
    (a, none), (_, why) = db.rows("SELECT a, _error FROM documents ORDER BY _error NULLS FIRST")
    assert (a, none) == ({"id": 1}, None) and "987654" in why
    assert db.value("SELECT kafka.encode(ROW('{\"id\": 1}', NULL)::documents)").startswith(Registry.frame(number, b"{"))
