"""The tests' own tools: brokers that keep their data, servers that tell of crashes."""

import os
import signal

import pytest

from conftest import wait_until
from process import server_user
from records import produce as send


def test_kafka_keeps_its_records(own_kafka, new_topic):
    topic = new_topic(partitions=2, broker=own_kafka)
    placed = send(own_kafka, topic, ["a", {"record": {"value": b"b", "key": "k", "partition": 1}},
                                     {"record": {"value": None, "key": "k", "partition": 1}}])
    assert placed[1:] == [(1, 0), (1, 1)] or placed[0][0] == 1
    with own_kafka.gone():
        assert not own_kafka.running
    with own_kafka.frozen():
        assert own_kafka.running
    own_kafka.stop()
    own_kafka.start()
    assert sorted(m.value() or b"" for m in own_kafka.read_all(topic)) == [b"", b"a", b"b"]


def test_transactions(kafka, topic):
    send(kafka, topic, ["lost"], transactional_id=topic, abort=True)
    send(kafka, topic, ["kept"], transactional_id=topic)
    assert [m.value() for m in kafka.read_all(topic)] == [b"kept"]


def test_mock(mock):
    mock.create_topic("t", 2)
    mock.command("produce", "t", 1, "key", "value")
    (record,) = mock.read_all("t")
    assert (record.partition(), record.key(), record.value()) == (1, b"key", b"value")
    with pytest.raises(RuntimeError, match="no such command"):
        mock.command("dance")


def test_server_is_private_and_watched(new_cluster):
    c = new_cluster(preload=False)
    if server_user():
        assert os.stat(f"/proc/{c.process.pid}").st_uid == server_user().pw_uid
    with c.connect() as session:
        pid = session.info.backend_pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "terminated by signal 9" in c.log_text(), what="the crash is logged")
    with pytest.raises(AssertionError, match="terminated by signal 9"):
        c.check_log()
    c.wait_ready()
    with c.connect() as session:
        c.kill_process(session.info.backend_pid)
        wait_until(lambda: c.log_text().count("terminated by signal 9") == 2, what="the second")
    c.check_log()
    c.kill_server()
    c.start()


def test_an_abort_is_never_excused(new_cluster):
    """A count would let a crash hide behind a kill that was announced: deaths go by pid."""
    c = new_cluster(preload=False)
    with c.connect() as victim:
        os.kill(victim.info.backend_pid, signal.SIGABRT)
        wait_until(lambda: "signal 6" in c.log_text(), what="the abort is logged")
    c.wait_ready()
    with c.connect() as session:
        c.kill_process(session.info.backend_pid)
        wait_until(lambda: "signal 9" in c.log_text(), what="the kill is logged")
    c.expect_crash()
    with pytest.raises(AssertionError, match="signal 6") as told:
        c.check_log()
    assert "signal 9" not in str(told.value)
