"""What tests need of Maven's repository, fetched once and kept in the user's cache."""

import contextlib
import os
import shutil
import subprocess
import tempfile


class NotFetched(Exception):
    """No Maven, or it could not fetch; says why."""


def fetched(name, *arguments, pom=None):
    """The folder of that name in the cache. Where it is not there, mvn with these arguments makes it: "{out}" in
    them is where it shall put it, "{work}" a folder that goes afterwards, with pom as its pom.xml where given."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.path.join(base, "kafka_engine")
    folder = os.path.join(cache, name)
    if os.path.isdir(folder):
        return folder
    if not shutil.which("mvn"):
        raise NotFetched("no mvn")
    os.makedirs(cache, exist_ok=True)
    work = tempfile.mkdtemp(prefix="fetch.", dir=cache)
    out = os.path.join(work, "out")
    try:
        if pom:
            with open(os.path.join(work, "pom.xml"), "w") as f:
                f.write(pom)
        done = subprocess.run(["mvn", "-q", "-B", *(a.format(out=out, work=work) for a in arguments)],
                              capture_output=True, text=True, cwd=work)
        if done.returncode != 0:
            raise NotFetched(f"Maven could not fetch {name}: {done.stdout[-2000:]}")
        with contextlib.suppress(OSError):  # somebody else was faster
            os.rename(out, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder
