"""What a thousand scans leave behind in a session: nothing."""

import os

from wait import wait_until


def usage(pid):
    """(threads, descriptors) of a process."""
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def test_thousand_scans_leave_nothing(bare_db, kafka, topic, produce):
    db = bare_db
    produce(topic, [{"n": n} for n in range(100)])
    db.topic_table("records", "n int", kafka, topic)
    pid = db.connection.info.backend_pid
    for _ in range(20):
        assert db.value("SELECT sum(n) FROM records") == 4950
    before, memory = usage(pid), resident_mb(pid)
    for _ in range(1000):
        assert db.value("SELECT count(*) FROM records") == 100
    # What a reader leaves to threads that end by themselves may take a moment.
    wait_until(lambda: all(a <= b for a, b in zip(usage(pid), before)), 10,
               lambda: f"{usage(pid)}, before {before}")
    assert resident_mb(pid) < memory + 30
