"""Options, logins and questions to a broker: kafka.check, kafka.partitions, what is told and what not."""

import os
import signal
import time

import psycopg
import pytest

from database import Database
from process import server_user
from records import produce as send
from wait import wait_until


def make_server(db, address, timeout="10s", name="broker"):
    db.execute(f"CREATE SERVER {name} FOREIGN DATA WRAPPER kafka "
               f"OPTIONS (bootstrap_servers '{address}', connect_timeout '{timeout}')")


def threads_of(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def test_check(bare_db, kafka):
    make_server(bare_db, kafka.bootstrap)
    connected, reason, cluster, brokers, controller, latency, library = bare_db.row(
        "SELECT * FROM kafka.check('broker')")
    assert (connected, reason) == (True, None)
    assert cluster and library
    assert brokers == [f"{controller} {kafka.bootstrap}"]
    assert 0 < latency < 10000


def test_check_says_why_not(bare_db):
    make_server(bare_db, "127.0.0.1:1", "500ms")
    connected, reason, *rest = bare_db.row("SELECT * FROM kafka.check('broker')")
    assert not connected and set(rest) == {None}
    assert reason.startswith('could not reach Kafka at "127.0.0.1:1" within 500 ms: ')


def test_partitions(bare_db, kafka, new_topic):
    topic = new_topic(3)
    send(kafka, topic, ["{}"] * 4, partition=1)
    send(kafka, topic, ["{}"] * 5, partition=2)
    kafka.delete_records(topic, 2, 2)
    bare_db.topic_table("t", "a int", kafka, topic)
    assert bare_db.execute("SELECT topic, partition, leader >= 0, low, high, last_stable "
                           "FROM kafka.partitions('t') ORDER BY 2") == [
        (topic, 0, True, 0, 0, 0), (topic, 1, True, 0, 4, 4), (topic, 2, True, 2, 5, 5)]
    bare_db.topic_table("few", "a int", kafka, topic, partitions="1-9")
    assert bare_db.column("SELECT partition FROM kafka.partitions('few') ORDER BY 1") == [1, 2]


def test_open_transaction(bare_db, kafka, topic):
    """high counts the records of an open transaction, last_stable does not."""
    bare_db.topic_table("t", "a int", kafka, topic)
    send(kafka, topic, ["{}"])
    producer = kafka.producer(**{"transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, b"{}")
    producer.flush()
    assert bare_db.row("SELECT high, last_stable FROM kafka.partitions('t')") == (2, 1)
    producer.commit_transaction()
    wait_until(lambda: bare_db.row("SELECT high, last_stable FROM kafka.partitions('t')") == (3, 3),
               what="the marker is written")


def test_missing_topic(bare_db, kafka, topic):
    bare_db.topic_table("t", "a int", kafka, topic[:-1])
    with pytest.raises(psycopg.Error) as e:
        bare_db.execute("SELECT * FROM kafka.partitions('t')")
    assert e.value.sqlstate == "HV00R"
    assert e.value.diag.message_primary == f'topic "{topic[:-1]}" does not exist'
    assert f'"{topic}"' in e.value.diag.message_hint


def test_pattern(bare_db, kafka, new_topic):
    names = [new_topic(), new_topic()]
    bare_db.execute(f"CREATE SERVER broker FOREIGN DATA WRAPPER kafka "
                    f"OPTIONS (bootstrap_servers '{kafka.bootstrap}')")
    bare_db.execute(f"CREATE FOREIGN TABLE t (a int) SERVER broker "
                    f"OPTIONS (topic_pattern '{names[0]}|{names[1]}')")
    assert bare_db.column("SELECT topic FROM kafka.partitions('t') ORDER BY 1") == sorted(names)


@pytest.mark.parametrize("question", ["SELECT * FROM kafka.check('broker')",
                                      "SELECT * FROM kafka.partitions('t')"])
def test_frozen_broker_can_be_left(bare_db, own_kafka, new_topic, question):
    """Statement time-outs work at once, and neither threads nor descriptors stay behind."""
    topic = new_topic(broker=own_kafka)
    make_server(bare_db, own_kafka.bootstrap, "30s")
    bare_db.execute(f"CREATE FOREIGN TABLE t (a int) SERVER broker OPTIONS (topic '{topic}')")
    bare_db.execute(question)
    pid = bare_db.connection.info.backend_pid
    wait_until(lambda: threads_of(pid) == 1, what="the threads have ended")
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    with own_kafka.frozen():
        bare_db.execute("SET statement_timeout = '300ms'")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            bare_db.execute(question)
        assert time.monotonic() - began < 2  # 300 ms, and a busy machine
    bare_db.execute("RESET statement_timeout")
    wait_until(lambda: threads_of(pid) == 1, what="the threads have ended")
    wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= descriptors,
               what="the descriptors are closed")


def test_end_of_a_process_beside_threads(bare_cluster, bare_db):
    """A session that is told to go while it waits goes at once, and not as a crash."""
    make_server(bare_db, "10.255.255.1:9", "60s")  # nobody answers there
    session = bare_db.connect()
    pid = session.info.backend_pid
    session.pgconn.send_query(b"SELECT * FROM kafka.check('broker')")
    wait_until(lambda: threads_of(pid) > 1, what="threads ask")
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not bare_cluster.alive(pid), what="the session has ended")
    assert time.monotonic() - began < 3
    assert bare_db.value("SELECT 1") == 1  # no crash of a process resets the server


def test_secrets_stay_out_of_the_log(bare_cluster, bare_db):
    make_server(bare_db, "localhost:1")
    for statement in (
            "CREATE USER MAPPING FOR PUBLIC SERVER broker OPTIONS (sasl_pasword 'hush-1')",
            "ALTER SERVER broker OPTIONS (sasl_password 'hush-2')",
            "CREATE FOREIGN TABLE t (a int) SERVER broker OPTIONS (topic 't', ssl_key_pem 'hush-3')",
            "CREATE FOREIGN TABLE t (a int OPTIONS (sasl_password 'hush-4')) SERVER broker "
            "OPTIONS (topic 't')",
            "CREATE USER MAPPING FOR PUBLIC SERVER broker OPTIONS (sasl_password 'hush-5', a 'b')"):
        with pytest.raises(psycopg.Error) as e:
            bare_db.execute(statement)
        assert "hush" not in str(e.value) + str(e.value.diag.message_detail)
    assert "unknown option \"sasl_pasword\"" in bare_cluster.log_text()
    assert "hush-" not in bare_cluster.log_text()


def test_secret_in_a_file(bare_db, tmp_path, kafka):
    """Its content is what counts, and it is read anew by each statement."""
    make_server(bare_db, kafka.bootstrap, "2s")
    secret = tmp_path / "secret"
    secret.write_text("first\n")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(folder, 0o755)
    if server_user():
        os.chown(secret, server_user().pw_uid, -1)
    bare_db.execute(f"CREATE USER MAPPING FOR PUBLIC SERVER broker "
                    f"OPTIONS (sasl_username 'u', sasl_password_file '{secret}')")
    assert bare_db.row("SELECT connected FROM kafka.check('broker')") == (True,)
    secret.unlink()
    connected, reason = bare_db.row("SELECT connected, reason FROM kafka.check('broker')")
    assert not connected
    assert reason == ('could not read the file of option "sasl_password_file": '
                      'No such file or directory.')


def test_dump_and_restore(bare_cluster, bare_db):
    """Columns get their options after their table in a dump: the check of types must not object."""
    make_server(bare_db, "localhost:1")
    bare_db.execute("CREATE FOREIGN TABLE t (payload bytea, o bigint OPTIONS (metadata 'offset'), "
                    "_partition text OPTIONS (source 'key')) SERVER broker "
                    "OPTIONS (topic 't', format 'raw', key_format 'text')")
    dump = bare_cluster._run("pg_dump", bare_cluster.conninfo(bare_db.name))
    with Database(bare_cluster, extension=False) as copy:
        bare_cluster._run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
                          bare_cluster.conninfo(copy.name), input=dump)
        copy.execute("SET bytea_output = 'escape'")
        assert copy.row("SELECT payload, o, _partition FROM kafka.decode(NULL::t, 'p', 'k')") == \
            (b"p", None, "k")
