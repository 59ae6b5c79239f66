"""What a thousand scans leave behind in a session: nothing."""

import os


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
    after = usage(pid)
    # What a reader leaves to a thread to end may take a moment.
    assert after[0] <= before[0] + 2 and after[1] <= before[1] + 4, (before, after)
    assert resident_mb(pid) < memory + 30
