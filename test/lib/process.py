"""Processes of the tests: they die with the parent, and the server's run as an unprivileged user.

PostgreSQL refuses to run as root, so where the tests are root its processes get another user; what
these need to read goes into a scratch directory that this user can reach.
"""

import atexit
import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def die_with_parent(signum=signal.SIGKILL):
    """For preexec_fn: the kernel sends signum when the thread that started the process is gone."""
    LIBC.prctl(PR_SET_PDEATHSIG, signum)


def server_user():
    """Who runs server processes: None (ourselves) unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in (os.environ.get("KAFKA_ENGINE_USER"), "postgres", "nobody"):
        if name:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
    raise RuntimeError("running as root: name an unprivileged user in KAFKA_ENGINE_USER")


def as_server_user():
    """Keyword arguments for subprocess that make the child run as server_user()."""
    user = server_user()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def reachable(path):
    """Whether the server's user can enter or read path."""
    test = "-x" if os.path.isdir(path) else "-r"
    return subprocess.run(["/usr/bin/test", test, path], cwd="/", **as_server_user()).returncode == 0


_scratches = {}


def scratch(purpose):
    """A new directory that the server's user can enter; removed when this process ends.

    Short, because the path of a Unix socket has about 100 bytes.
    """
    for base in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp"):
        if base and os.path.isdir(base) and len(base) < 40 and reachable(base):
            break
    else:
        raise RuntimeError("no temporary directory that the server's user can enter; set TMPDIR")
    path = tempfile.mkdtemp(prefix=f"kafka_engine.{purpose}.", dir=base)
    os.chmod(path, 0o755)
    _scratches[path] = os.getpid()
    return path


def remove_scratch(path):
    if os.environ.get("KAFKA_ENGINE_KEEP"):
        return
    shutil.rmtree(path, ignore_errors=True)
    _scratches.pop(path, None)


@atexit.register
def _remove_all():
    for path, pid in list(_scratches.items()):
        if pid == os.getpid():
            remove_scratch(path)


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on, below the range that clients are given."""
    for _ in range(200):
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port on 127.0.0.1")
