"""What make chaos does to server, broker and catalogs: each kind a method, with its weight.

The server may change: a standby is promoted, or a backup is put back to an earlier moment, and the one
before is killed. `cluster` is the one at work.
"""

import contextlib
import os

import psycopg

import views
from cluster import Cluster
from wait import let_pass, wait_until

PATIENCE = 300  # seconds; the machine may be busy with others, or stopped for a while
DATABASE = "chaos"
SETTINGS = {"log_min_messages": "warning", "fsync": "on", "wal_level": "replica", "max_wal_senders": "4",
            "archive_mode": "on", "archive_command": "false", "checkpoint_timeout": "30s",
            "max_wal_size": "128MB", "min_wal_size": "32MB"}
# What a server says when its disk does what we make it do.
PANICS = ("No space left on device", "could not f")


class Chaos:
    KINDS = {  # name: (method, weight)
        "worker, kill -9": ("kill_worker", 5),
        "worker, terminated": ("terminate_worker", 3),
        "all of ours, terminated": ("terminate_storm", 3),
        "server, kill -9": ("kill_server", 4),
        "server, immediate stop": ("stop_server", 2),
        "broker, stopped": ("stop_broker", 3),
        "broker, kill -9": ("kill_broker", 2),
        "broker, frozen": ("freeze_broker", 1),
        "names do not resolve": ("lose_names", 1),
        "data disk full": ("fill_disk", 2),
        "data I/O errors": ("break_disk", 2),
        "WAL disk full": ("fill_wal", 1),
        "flushes fail": ("break_flushes", 1),
        "standby promoted": ("promote_standby", 2),
        "put back to a moment": ("put_back", 2),
        "views altered": ("alter_views", 2),
        "columns and indexes": ("alter_tables", 2),
        "paused and resumed": ("pause_views", 2),
        "workers shared out anew": ("alter_consumers", 2),
        "views refreshed": ("refresh_views", 2),
    }

    def __init__(self, broker, random, only=None):
        self.broker, self.random = broker, random
        self.kinds = {n: k for n, k in self.KINDS.items() if only is None or only in n}
        self.servers = 0
        self.cluster = self.new_cluster().start()

    # ------------------------------------------------------------------------------ servers

    def new_cluster(self):
        cluster = Cluster(settings=SETTINGS, faults=True)
        for words in PANICS:
            cluster.expect_panic(words)
        archive = self.archive_of(cluster)
        os.mkdir(archive)
        os.chmod(archive, 0o777)  # the server's own
        cluster.configure(archive_command=f"cp %p {archive}/%f")
        self.servers += 1
        return cluster

    @staticmethod
    def archive_of(cluster):
        return os.path.join(cluster.directory, "archive")

    def replace_by(self, other):
        old, self.cluster = self.cluster, other
        if old.running:
            old.kill_server()
        old.check_log()
        old.close()

    def close(self):
        self.cluster.close()

    def ask(self, statement, parameters=None, database=DATABASE):
        """The rows; tried again while the server recovers or somebody's lock is in the way."""
        def tried():
            try:
                with self.cluster.connect(database) as c:
                    cursor = c.execute(statement, parameters)
                    return cursor.fetchall() if cursor.description else [()]
            except (psycopg.OperationalError, psycopg.errors.LockNotAvailable):
                return None

        return wait_until(tried, PATIENCE, statement)

    def wait_ready(self):
        """A server whose disk failed may have ended instead of recovering."""
        def ready():
            if not self.cluster.running:
                self.cluster.start(wait=False)
            with contextlib.suppress(psycopg.OperationalError):
                self.cluster.connect("postgres").close()
                return True

        wait_until(ready, PATIENCE, "the server is back")

    def find_worker(self):
        def look():
            return self.ask("SELECT array_agg(pid) FROM pg_stat_activity"
                            " WHERE backend_type LIKE 'kafka_engine worker%'")[0][0]

        return self.random.choice(wait_until(look, PATIENCE, "a worker runs"))

    def kill_worker(self):
        pid = self.find_worker()
        try:
            self.cluster.kill_process(pid)
        except ProcessLookupError:
            return
        wait_until(lambda: not self.cluster.alive(pid), PATIENCE, "the worker is gone")
        self.wait_ready()

    def terminate_worker(self):
        pid = self.find_worker()
        self.ask("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: not self.cluster.alive(pid), 60, "a terminated worker ends")

    def terminate_storm(self):
        for _ in range(self.random.randrange(5, 25)):
            self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE backend_type LIKE 'kafka_engine %'")
            let_pass(self.random.uniform(0, 0.1))

    def kill_server(self):
        self.cluster.kill_server()
        self.cluster.start()

    def stop_server(self):
        self.cluster.restart("immediate")

    # ------------------------------------------------------------------------------ the broker

    def start_broker(self):
        """One that dies while it starts is started again."""
        for _ in range(3):
            with contextlib.suppress(RuntimeError):
                return self.broker.start()
        return self.broker.start()

    def stop_broker(self):
        self.broker.stop()
        self.start_broker()

    def kill_broker(self):
        self.broker.kill()
        self.start_broker()

    def freeze_broker(self):
        with self.broker.frozen():
            let_pass(self.random.uniform(0.5, 4))

    def lose_names(self):
        with self.cluster.fault("no names"):
            self.broker.stop()
            self.start_broker()
            let_pass(self.random.uniform(0.5, 2))

    # ------------------------------------------------------------------------------ disks

    def _fail(self, what):
        with self.cluster.fault(what):
            let_pass(self.random.uniform(0.5, 3))
            with contextlib.suppress(psycopg.Error), self.cluster.connect("postgres") as c:
                c.execute("CHECKPOINT")
        self.wait_ready()

    def fill_disk(self):
        self._fail("disk full")

    def break_disk(self):
        self._fail("writes fail")

    def fill_wal(self):
        self._fail("WAL disk full")

    def break_flushes(self):
        self._fail("flushes fail")

    # ------------------------------------------------------------------------------ other servers

    def promote_standby(self):
        """It lags behind when the primary dies."""
        other = self.new_cluster()
        other.become_copy_of(self.cluster, "standby.signal", primary_conninfo=self.cluster.conninfo())
        other.start()
        let_pass(self.random.uniform(0.2, 2))
        other.configure(primary_conninfo="")
        other.reload()
        let_pass(self.random.uniform(0.2, 2))
        self.cluster.kill_server()
        with other.connect("postgres") as c:
            c.execute("SELECT pg_promote()")
        self.replace_by(other)

    def put_back(self):
        """From a backup and the archive to a moment some batches ago."""
        archive = self.archive_of(self.cluster)
        other = self.new_cluster()
        other.become_copy_of(self.cluster, "recovery.signal", restore_command=f"cp {archive}/%f %p",
                             recovery_target_name="moment", recovery_target_action="promote")
        let_pass(self.random.uniform(0.2, 2))
        self.ask("SELECT pg_create_restore_point('moment')")
        let_pass(self.random.uniform(0.2, 2))
        (wal,), = self.ask("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: os.path.exists(os.path.join(archive, wal)), PATIENCE, f"{wal} is archived")
        self.cluster.kill_server()
        other.start()
        wait_until(lambda: not _recovering(other), PATIENCE, "the recovery has ended")
        self.replace_by(other)

    # ------------------------------------------------------------------------------ DDL

    def some_view(self):
        return self.random.choice(list(views.VIEWS))

    def alter_views(self):
        for _ in range(5):
            self.ask(f"ALTER MATERIALIZED VIEW {self.some_view()} SET (kafka.batch_rows ="
                     f" {self.random.choice([10, 100, 1000, 65536])}, kafka.flush_interval ="
                     f" '{self.random.choice([1, 20, 200])}ms')")
            let_pass(self.random.uniform(0, 0.3))

    def alter_tables(self):
        view = self.random.choice(["plain", "joined", "durable"])
        number = self.random.randrange(1000000)
        self.ask(f"ALTER TABLE {view} ADD COLUMN c{number} int DEFAULT {number}")
        self.ask(f"CREATE INDEX i{number} ON {view} (n)")
        let_pass(self.random.uniform(0, 0.5))
        self.ask(f"DROP INDEX i{number}")
        self.ask(f"ALTER TABLE {view} DROP COLUMN c{number}")

    def pause_views(self):
        some = self.random.sample(views.ALL, 3)
        for name in some:
            self.ask("SELECT kafka.pause(%s::regclass)", [name])
        let_pass(self.random.uniform(0, 1))
        for name in some:
            self.ask("SELECT kafka.resume(%s::regclass)", [name])

    def alter_consumers(self):
        self.ask("ALTER FOREIGN TABLE records OPTIONS (SET consumers '%d')" % self.random.randrange(1, 4))

    def refresh_views(self):
        self.ask(f"REFRESH MATERIALIZED VIEW {self.some_view()}")

    # ------------------------------------------------------------------------------ rounds

    def round(self):
        pause = self.random.uniform(0.2, 4)
        names = list(self.kinds)
        name = self.random.choices(names, [self.kinds[n][1] for n in names])[0]
        let_pass(pause)
        getattr(self, self.kinds[name][0])()
        return pause, name


def _recovering(cluster):
    with contextlib.suppress(psycopg.OperationalError), cluster.connect("postgres") as c:
        return c.execute("SELECT pg_is_in_recovery()").fetchone()[0]
    return True
