"""A private PostgreSQL server with this build of the extension, leaving no trace on the machine.

The server's programs are copied into a scratch directory as `make check` of PostgreSQL itself does:
PostgreSQL finds its share and library folders relative to where its program stands, so that a copy
beside links to the installed files, with our three files added, is a whole installation. Nothing is
installed into the system's, no root is needed, and two clones can be tested side by side.

    with Cluster() as cluster:          # preloaded; preload=False for the other way
        cluster.connect("postgres").execute("SELECT 1")
        cluster.stop(), start(), kill_server(), restart()

The server's log is read at the end: a process that died by a signal, a failed assertion or a PANIC
is an error, unless announced with expect_crash().
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess

import psycopg

from process import as_server_user, die_with_parent, reachable, remove_scratch, scratch
from wait import wait_until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # kill -9 of processes loses nothing that the kernel has
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_worker_processes": "32",
    "max_wal_size": "4GB",
    "autovacuum_naptime": "5s",
    "log_line_prefix": "%m [%p] %q%a %d ",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
}

CRASH = re.compile(r"terminated by signal|TRAP:|PANIC:|exited with exit code 2\b|stack smashing"
                   r"|AddressSanitizer")


def find_pg_config():
    """PG_CONFIG as make has it, else the one in the PATH."""
    found = os.environ.get("PG_CONFIG") or shutil.which("pg_config")
    if not found:
        raise RuntimeError("no pg_config; set PG_CONFIG")
    return found


class Installation:
    """A relocated copy of the server with this tree's extension; one per process, on demand."""

    _made = {}

    @classmethod
    def get(cls, pg_config=None):
        pg_config = pg_config or find_pg_config()
        if pg_config not in cls._made:
            cls._made[pg_config] = cls(pg_config)
        return cls._made[pg_config]

    def __init__(self, pg_config):
        self.pg_config = pg_config
        self.root = scratch("tree")
        self._install()
        where = dict(
            line.split(" = ", 1) for line in
            subprocess.run([pg_config], check=True, capture_output=True, text=True)
            .stdout.splitlines())
        self.version = int(re.search(r"\d+", where["VERSION"]).group())
        self.bin = self._inside(where["BINDIR"])
        os.makedirs(self.bin, exist_ok=True)
        # Programs are copied, since a link would be followed back to the original's folder.
        for name in ("postgres", "initdb", "pg_config", "pg_ctl", "pg_dump", "pg_restore", "pg_basebackup",
                     "psql", "pg_rewind", "pg_upgrade", "pg_resetwal", "pg_controldata", "pg_dumpall",
                     "vacuumdb"):
            source = os.path.join(where["BINDIR"], name)
            if os.path.exists(source):
                shutil.copy(source, self.bin)
        self._mirror(where["SHAREDIR"])
        self._mirror(os.path.join(where["SHAREDIR"], "extension"))
        self._mirror(where["PKGLIBDIR"], skip=("bitcode", "pgxs", "kafka_engine.so"))
        self.libraries = where["LIBDIR"]
        self._open_up()
        self.library_path = "$libdir"
        self._lead_to_library(where["PKGLIBDIR"])

    def _install(self):
        """make install, or meson's where KAFKA_ENGINE_MESON names its build directory."""
        environment = dict(os.environ)
        # Of an outer make we keep the variables given to it, not its job server.
        given = environment.pop("MAKEFLAGS", "").partition("-- ")
        environment["MAKEFLAGS"] = "".join(given[1:])
        environment.pop("MAKELEVEL", None)
        meson = environment.get("KAFKA_ENGINE_MESON")
        command = (["meson", "install", "--no-rebuild", "--quiet", "-C", meson, "--destdir", self.root]
                   if meson else ["make", "-s", "-C", TOP, "install", f"DESTDIR={self.root}",
                                  f"PG_CONFIG={self.pg_config}"])
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

    def _inside(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def _mirror(self, source, skip=()):
        """Our folder gets links to all that stands in source, and keeps what we have installed."""
        target = self._inside(source)
        os.makedirs(target, exist_ok=True)
        for name in os.listdir(source):
            ours = os.path.join(target, name)
            if name in skip or name == "extension" or name.startswith("kafka_engine"):
                continue
            if not os.path.lexists(ours):
                theirs = os.path.join(source, name)
                if reachable(theirs):
                    os.symlink(theirs, ours)
                elif os.path.isdir(theirs):
                    shutil.copytree(theirs, ours)
                else:
                    shutil.copy(theirs, ours)

    def _lead_to_library(self, pkglibdir):
        """For servers whose library folder is fixed at build time and so does not move along."""
        moved = subprocess.run([self.program("pg_config"), "--pkglibdir"], check=True,
                               capture_output=True, text=True, env=self.environment())
        if moved.stdout.startswith(self.root):
            return
        self.library_path = self._inside(pkglibdir) + ":$libdir"
        for folder, _, names in os.walk(self.root):
            if "kafka_engine.control" in names:
                path = os.path.join(folder, "kafka_engine.control")
                with open(path) as f:
                    text = f.read()
                with open(path, "w") as f:
                    f.write(text.replace("$libdir/kafka_engine", "kafka_engine"))

    def _open_up(self):
        for folder, _, names in os.walk(self.root):
            os.chmod(folder, 0o755)
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    os.chmod(path, os.stat(path).st_mode | 0o444)

    def program(self, name):
        path = os.path.join(self.bin, name)
        if os.path.isdir(self.root):
            return path
        raise RuntimeError(f"{self.root} was removed while the tests ran: this says nothing about "
                           "the code; run them again")

    def environment(self):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        if not reachable(self.libraries):  # a server in somebody's closed home
            folder = self._inside(self.libraries)
            os.makedirs(folder, exist_ok=True)
            for name in os.listdir(self.libraries):
                if name.startswith(("libpq", "libecpg", "libpgtypes")):
                    shutil.copy(os.path.join(self.libraries, name), folder)
            kept["LD_LIBRARY_PATH"] = folder
        kept["LC_ALL"] = "C.UTF-8"
        return kept


# What faults.cpp takes, by name.
FAULTS = {"disk full": "D", "writes fail": "E", "WAL disk full": "L", "reads fail": "R",
          "flushes fail": "F", "no names": "N", "clock ahead": "A", "clock behind": "B"}


class Cluster:
    """faults: its disk and its names can fail on command, see fault()."""

    def __init__(self, preload=True, settings=None, pg_config=None, faults=False):
        self.installation = Installation.get(pg_config)
        self.directory = scratch("pg")
        self._faults = None
        self.data = os.path.join(self.directory, "data")
        self.log = os.path.join(self.directory, "log")
        self.host = self.directory
        self.port = 5432  # names the socket only: every cluster has a directory of its own
        self.user = "postgres"
        self.settings = dict(SETTINGS, dynamic_library_path=self.installation.library_path)
        if preload:
            self.settings["shared_preload_libraries"] = "kafka_engine"
        self.settings.update(settings or {})
        self.process = None
        self._expected_crashes = 0
        self._panics = []  # patterns of expect_panic()
        self._killed = []  # (pid, signal) of kill_process()
        self._log_read = 0
        account = as_server_user()
        if account:
            os.chown(self.directory, account["user"], account["group"])
        self._run("initdb", "-D", self.data, "-U", self.user, "-A", "trust", "--no-sync",
                  "-E", "UTF8", "--locale=C.UTF-8")
        self.configure()
        if faults:
            self._prepare_faults()

    def _prepare_faults(self):
        source = os.path.join(TOP, "test", "lib", "faults.so")
        if not os.path.exists(source):
            raise RuntimeError("test/lib/faults.so is not built: make test/lib/faults.so")
        shutil.copy(source, self.directory)
        self._faults = os.path.join(self.directory, "faults")
        self.heal()

    # ------------------------------------------------------------------------------ settings

    def configure(self, **settings):
        """Writes the settings; a running server takes them at reload() or restart()."""
        self.settings.update(settings)
        path = os.path.join(self.data, "postgresql.auto.conf")
        with open(path, "w") as f:
            for name, value in {**self.settings, "port": self.port,
                                "unix_socket_directories": self.host}.items():
                f.write("{} = '{}'\n".format(name, str(value).replace("'", "''")))

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    # ------------------------------------------------------------------------------ faults

    def fail(self, what):
        """From now on: one of FAULTS, for every process of the server."""
        self._tell(FAULTS[what])

    def heal(self):
        self._tell("-")

    def _tell(self, letter):
        with open(self._faults, "r+" if os.path.exists(self._faults) else "w") as f:
            f.write(letter)

    @contextlib.contextmanager
    def fault(self, what):
        self.fail(what)
        try:
            yield self
        finally:
            self.heal()

    # ------------------------------------------------------------------------------ copies

    def become_copy_of(self, other, signal_file, **settings):
        """Our data are a base backup of the other's; standby.signal or recovery.signal. Not started."""
        self.stop()
        for name in os.listdir(self.data):
            path = os.path.join(self.data, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        self._run("pg_basebackup", "-D", self.data, "-h", other.host, "-p", str(other.port),
                  "-U", other.user, "-c", "fast", "-X", "stream", "--no-sync")
        open(os.path.join(self.data, signal_file), "w").close()
        self.configure(**settings)

    # ------------------------------------------------------------------------------ processes

    def _run(self, program, *arguments, **more):
        done = subprocess.run([self.installation.program(program), *arguments],
                              env=self.installation.environment(), cwd=self.directory,
                              capture_output=True, text=True, **as_server_user(), **more)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, wait=True):
        with open(self.log, "a") as log:
            # SIGQUIT: the postmaster's own way to take its children along when the tests are gone.
            self.process = subprocess.Popen(
                [self.installation.program("postgres"), "-D", self.data],
                env=self._environment(), cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=lambda: die_with_parent(signal.SIGQUIT),
                **as_server_user())
        if wait:
            self.wait_ready()
        return self

    def _environment(self):
        environment = self.installation.environment()
        preloaded = [os.environ.get("KAFKA_ENGINE_PRELOAD")]
        if self._faults:
            preloaded.append(os.path.join(self.directory, "faults.so"))
            environment["KAFKA_ENGINE_FAULTS"] = self._faults
        if any(preloaded):
            environment["LD_PRELOAD"] = ":".join(filter(None, preloaded))
        return environment

    def wait_ready(self, timeout=60):
        def ready():
            if not self.running:
                raise RuntimeError(f"server did not start:\n{self.log_text()[-3000:]}")
            try:
                self.connect("postgres").close()
                return True
            except psycopg.OperationalError:
                return False

        wait_until(ready, timeout, "the server accepts connections")

    def stop(self, mode="fast", timeout=30):
        """smart, fast or immediate, as pg_ctl names them."""
        if self.running:
            self.process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT,
                                      "immediate": signal.SIGQUIT}[mode])
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill_server()
                raise AssertionError(f"the server did not stop ({mode}) within {timeout} s") from None
        self.process = None

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def processes(self):
        """pids of the postmaster and of all its children."""
        pid = self.process.pid
        children = []
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{pid}/task/{pid}/children") as f:
                children = [int(c) for c in f.read().split()]
        return [pid] + children

    def kill_server(self):
        """kill -9 of everything at once: what a power cut does, less the kernel's buffers."""
        os.kill(self.process.pid, signal.SIGSTOP)  # it makes no more of them

        def none_left():  # the list may leave some out while others go
            left = [p for p in self.processes()[1:] if self.alive(p)]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_until(none_left, 30, "children are gone")
        self.process.kill()
        self.process.wait()
        self.process = None

    @staticmethod
    def alive(pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                ended = f.read().rsplit(")", 1)[1].split()[0] == "Z"
            return not ended or len(os.listdir(f"/proc/{pid}/task")) > 1  # its threads hold the memory
        except OSError:
            return False

    def kill_process(self, pid, signum=signal.SIGKILL):
        """Kills one server process; the postmaster then restarts all others."""
        os.kill(pid, signum)
        self._killed.append((pid, int(signum)))

    # ------------------------------------------------------------------------------ clients

    def conninfo(self, dbname="postgres", **more):
        return psycopg.conninfo.make_conninfo(host=self.host, port=self.port,
                                              user=more.pop("user", self.user), dbname=dbname,
                                              connect_timeout=10, **more)

    def connect(self, dbname="postgres", autocommit=True, **more):
        return psycopg.connect(self.conninfo(dbname, **more), autocommit=autocommit)

    def client_environment(self, dbname="postgres"):
        """For psql, pg_regress and others: PGHOST and its like."""
        return {**self.installation.environment(), "PGHOST": self.host, "PGPORT": str(self.port),
                "PGUSER": self.user, "PGDATABASE": dbname}

    # ------------------------------------------------------------------------------ the log

    def log_text(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.log, errors="replace") as f:
                return f.read()
        return ""

    def expect_crash(self, times=1):
        """Announces that a test is about to kill that many processes (kill_process does so)."""
        self._expected_crashes += times

    def expect_panic(self, words):
        """Announces PANICs that say so, and the deaths by SIGABRT that they are."""
        self._panics.append(words)

    def check_log(self):
        """Raises on every crash since the last call that nobody announced.

        Excused is the death by signal 9 of a process that kill_process() ended, by its pid, and as
        many others by signal 9 as expect_crash() announced; a PANIC by its words. Another abort, a
        segmentation fault or a failed assertion is never excused: a number alone would let one hide
        behind a kill.
        """
        text = self.log_text()
        self._panicked = set(re.findall(r"(\[\d+\])[^\n]*PANIC:", text[self._log_read:]))
        lines = [x for x in text[self._log_read:].splitlines() if CRASH.search(x)]
        self._log_read = len(text)
        bad = [x for x in lines if not self._excused(x)]
        assert not bad, "the server's log says:\n" + "\n".join(bad) + f"\n({self.log})"

    def _excused(self, line):
        if "PANIC:" in line:
            return any(words in line for words in self._panics)
        death = re.search(r"\(PID (\d+)\) was terminated by signal (\d+)", line)
        if not death:
            return False
        pid, signum = int(death.group(1)), int(death.group(2))
        if signum == signal.SIGABRT and f"[{pid}]" in self._panicked:
            return True
        if (pid, signum) in self._killed:
            self._killed.remove((pid, signum))
            return True
        if signum == signal.SIGKILL and self._expected_crashes > 0:
            self._expected_crashes -= 1
            return True
        return False

    # ------------------------------------------------------------------------------ the end

    def __enter__(self):
        if not self.running:
            self.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check_log()
        finally:
            self.close()

    def close(self):
        with contextlib.suppress(Exception):
            if self.running:
                self.kill_server()
        remove_scratch(self.directory)
