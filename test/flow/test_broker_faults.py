"""Brokers that refuse, answer rubbish, are too slow or partly gone: a state with the broker's own words (or
librdkafka's), and what waits comes when they mend, with no restart of anything."""

import os

import pytest

from broker import KafkaNodes
from relay import Relay, make_certificate
from wait import wait_until


@pytest.fixture
def relay(kafka):
    with Relay(kafka) as r:
        yield r


def view_on(db, address, topic, name="v", mapping="", **options):
    """A view on a server of its own; the server's name."""
    given = "".join(f", {k} '{v}'" for k, v in options.items())
    db.execute(f"CREATE SERVER s_{name} FOREIGN DATA WRAPPER kafka"
               f" OPTIONS (bootstrap_servers '{address}', connect_timeout '1s'{given})")
    db.execute(f"CREATE USER MAPPING FOR PUBLIC SERVER s_{name} {mapping}")
    db.execute(f"CREATE FOREIGN TABLE t_{name} (n int, _partition int) SERVER s_{name} OPTIONS (topic '{topic}')")
    db.view(name, f"SELECT n, _partition AS p FROM t_{name}")
    return f"s_{name}"


def wait_trouble(db, view, *words):
    """Until the view is retrying for a reason that has all the words; the error's text."""
    def there():
        state, reason, error = db.state(view)
        return state == "retrying" and all(w in reason for w in words) and error

    return wait_until(there, 60, lambda: f"{view} says {words}; it is {db.state(view)}")


RUBBISH = ("does not speak Kafka's protocol", "Invalid response size")
HUNG_UP = ("could not reach Kafka", "Disconnected")


@pytest.mark.parametrize("mode, words", [("garbage", RUBBISH), ("closed", HUNG_UP)])
def test_who_answers_is_no_kafka(db, relay, topic, produce, mode, words):
    produce(topic, [{"n": 1}])
    view_on(db, relay.bootstrap, topic)
    db.wait_count("v", 1)
    relay.mode = mode
    relay.cut()
    wait_trouble(db, "v", *words)
    connected, reason = db.row("SELECT connected, reason FROM kafka.check('s_v')")
    assert not connected and words[1] in reason, reason
    assert words[1] in db.error("SELECT * FROM t_v").diag.message_detail
    produce(topic, [{"n": 2}])
    relay.mode = "pass"
    relay.cut()
    db.wait_count("v", 2)
    db.wait_state("v", "running")


def test_a_certificate_that_expires(db, relay, topic, produce, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(folder, 0o755)
    old, good = (make_certificate(tmp_path, n, n == "old") for n in ("old", "good"))
    trusted = tmp_path / "trusted"
    trusted.write_text("".join(open(certificate).read() for certificate, _ in (old, good)))
    relay.certificate = good
    produce(topic, [{"n": 1}])
    view_on(db, relay.bootstrap, topic, security_protocol="ssl", ssl_ca_location=trusted)
    db.wait_count("v", 1)
    relay.certificate = old
    relay.cut()
    error = wait_trouble(db, "v", "could not make a secure connection to Kafka", "certificate verify failed")
    assert "[28000]" in error and "options for security" in error
    relay.certificate = None  # no TLS at all
    relay.cut()
    wait_trouble(db, "v", "SSL handshake failed")
    produce(topic, [{"n": 2}])
    relay.certificate = good
    relay.cut()
    db.wait_count("v", 2)
    db.wait_state("v", "running")


def test_login_refused_until_it_is_right(db, kafka, topic, produce):
    produce(topic, [{"n": 1}])
    server = view_on(db, kafka.login_address, topic, mapping="OPTIONS (sasl_username 'app', sasl_password 'sesam')",
                     security_protocol="sasl_plaintext", sasl_mechanism="PLAIN")
    error = wait_trouble(db, "v", "could not log in to Kafka", "Invalid username or password")
    assert "[28000]" in error and "sesam" not in error + str(db.state("v")) + db.cluster.log_text()
    db.execute(f"ALTER USER MAPPING FOR PUBLIC SERVER {server} OPTIONS (SET sasl_password 'right')")
    db.wait_count("v", 1)
    db.wait_state("v", "running")


def test_a_name_that_nobody_knows(db, kafka, topic, produce):
    produce(topic, [{"n": 1}])
    server = view_on(db, "kafka.invalid:9092", topic)
    wait_trouble(db, "v", 'could not reach Kafka at "kafka.invalid:9092"', "Failed to resolve")
    db.execute(f"ALTER SERVER {server} OPTIONS (SET bootstrap_servers '{kafka.bootstrap}')")
    db.wait_count("v", 1)
    db.wait_state("v", "running")


def test_a_quota_makes_it_slower_and_no_more(db, kafka, topic, produce):
    client = f"slow-{topic}"

    def quota(*arguments):
        kafka.tool("kafka.admin.ConfigCommand", "--bootstrap-server", kafka.bootstrap, "--alter",
                   "--entity-type", "clients", "--entity-name", client, *arguments)

    quota("--add-config", "consumer_byte_rate=20000")
    produce(topic, [{"n": n, "text": "x" * 1000} for n in range(1000)], batch_num_messages=10)
    view_on(db, kafka.bootstrap, topic, client_id=client, fetch_message_max_bytes=10000)

    def look():
        return db.value("SELECT count(*) FROM v")

    wait_until(lambda: 0 < look() < 1000, 60, lambda: f"some have come, and not all at once: {look()} {db.state('v')}")
    wait_until(lambda: "a quota of the broker's is used up" in (db.state("v")[1] or ""), 60, lambda: str(db.state("v")))
    assert db.state("v")[0] in ("running", "catching up")
    quota("--delete-config", "consumer_byte_rate")
    wait_until(lambda: look() == 1000, 60, "all have come")
    db.wait_state("v", "running")
    wait_until(lambda: db.state("v")[1] is None, 60, lambda: str(db.state("v")))


def cpu_seconds(db):
    """Of the one worker: all its threads, since it was born."""
    (pid,) = db.column("SELECT pid FROM kafka.workers")
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_dead_broker_of_three(db, produce):
    """Partitions with copies elsewhere go on at their new leaders, others without, at once; one whose only
    copy is gone waits for it and is named, and holds up nobody."""
    with KafkaNodes(3, {"broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500}) as nodes:
        single, copied = (nodes.create_topic(f"t-{kind}", 3, placed=placed) for kind, placed in
                          (("single", [[1], [2], [3]]), ("copied", [[3, 1, 2], [1, 2, 3], [2, 3, 1]])))

        def one_more(topic, partitions):
            for p in partitions:
                produce(topic, [{"n": 1}], broker=nodes, partition=p)

        def wait_rows(view, *expected):
            def look():
                found = dict(db.rows(f"SELECT p, count(*) FROM {view} GROUP BY p"))
                return [found.get(p, 0) for p in range(3)]

            wait_until(lambda: look() == list(expected), 60, lambda: f"{look()} {db.state(view)}")

        one_more(single, range(3))
        one_more(copied, range(3))
        view_on(db, nodes.bootstrap, single)
        view_on(db, nodes.bootstrap, copied, "w")
        wait_rows("v", 1, 1, 1)
        wait_rows("w", 1, 1, 1)
        dead = nodes.leader_of(copied, 0)
        assert dead is nodes.nodes[2]
        dead.kill()
        before = cpu_seconds(db)
        one_more(single, range(2))
        wait_rows("v", 2, 2, 1)
        wait_trouble(db, "v", f'partition 2 of topic "{single}" has no leader')
        one_more(single, range(2))
        one_more(copied, range(3))
        wait_rows("v", 3, 3, 1)
        wait_rows("w", 2, 2, 2)
        db.wait_state("w", "running")
        dead.start()
        assert cpu_seconds(db) - before < 3
        one_more(single, [2])
        one_more(copied, range(3))
        wait_rows("v", 3, 3, 2)
        wait_rows("w", 3, 3, 3)
        db.wait_state("v", "running")
