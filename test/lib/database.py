"""A fresh database with the extension, and short ways to ask it."""

import contextlib
import itertools
import re
import uuid

import psycopg
from psycopg import sql

from wait import wait_until

# How long to wait for what takes milliseconds on a quiet machine.
PATIENCE = 60


class Database:
    """connection is in autocommit; connect() opens more, all closed at the end.

    create=False takes a database that is there; keep=True leaves it at the end.
    """

    _numbers = itertools.count(1)

    def __init__(self, cluster, name=None, extension=True, create=True, keep=False):
        self.cluster = cluster
        self.name = name or f"d{next(self._numbers)}_{uuid.uuid4().hex[:6]}"
        self._connections = []
        self._servers = {}
        self._keep = keep or not create
        if create:
            self._execute_elsewhere(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        self.connection = self.connect()
        if create and extension:
            self.execute("CREATE EXTENSION kafka_engine")

    def _execute_elsewhere(self, statement):
        with self.cluster.connect("postgres") as c:
            c.execute(statement)

    def connect(self, autocommit=True, **more):
        c = self.cluster.connect(self.name, autocommit=autocommit, **more)
        self._connections.append(c)
        return c

    # ------------------------------------------------------------------------------ asking

    def execute(self, statement, parameters=None):
        """Runs a statement; its rows where it has any."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    rows = execute

    def row(self, statement, parameters=None):
        found = self.execute(statement, parameters)
        assert len(found) == 1, f"{len(found)} rows: {statement}"
        return found[0]

    def value(self, statement, parameters=None):
        (found,) = self.row(statement, parameters)
        return found

    def column(self, statement, parameters=None):
        return [r[0] for r in self.execute(statement, parameters)]

    def error(self, statement, parameters=None, connection=None):
        """The error that a statement must raise (psycopg.Error: .sqlstate, .diag)."""
        try:
            with (connection or self.connection).cursor() as cursor:
                cursor.execute(statement, parameters)
        except psycopg.Error as e:
            return e
        raise AssertionError(f"no error: {statement}")

    @contextlib.contextmanager
    def role(self, name=None):
        """A fresh role, and its name; dropped with all it owns at the end."""
        name = name or f"r_{uuid.uuid4().hex[:8]}"
        self.execute(f"CREATE ROLE {name} LOGIN")
        try:
            yield name
        finally:
            self.execute("RESET ROLE")
            self.execute(f"DROP OWNED BY {name} CASCADE")
            self.execute(f"DROP ROLE {name}")

    # ------------------------------------------------------------------------------ topics

    def server(self, broker, **options):
        """A foreign server on a broker (or address), made once; its name."""
        bootstrap = getattr(broker, "bootstrap", broker)
        key = (bootstrap, tuple(sorted(options.items())))
        if key not in self._servers:
            name = f"broker{len(self._servers) or ''}"
            self.execute(
                f"CREATE SERVER {name} FOREIGN DATA WRAPPER kafka "
                f"OPTIONS ({_options(bootstrap_servers=bootstrap, **options)})")
            self.execute(f"CREATE USER MAPPING FOR PUBLIC SERVER {name}")
            self._servers[key] = name
        return self._servers[key]

    def topic_table(self, name, columns, broker, topic=None, server_options=None, **options):
        """CREATE FOREIGN TABLE name (columns) on topic; format is json unless given."""
        if topic is not None:
            options["topic"] = topic
        options.setdefault("format", "json")
        self.execute(f"CREATE FOREIGN TABLE {name} ({columns}) SERVER "
                     f"{self.server(broker, **(server_options or {}))} "
                     f"OPTIONS ({_options(**options)})")
        return name

    def view(self, name, query, **options):
        """CREATE MATERIALIZED VIEW name WITH (kafka.continuous, ...) AS query."""
        given = "".join(f", kafka.{k} = {_literal(v)}" for k, v in options.items())
        self.execute(f"CREATE MATERIALIZED VIEW {name} WITH (kafka.continuous{given}) AS {query}")
        return name

    # ------------------------------------------------------------------------------ waiting

    def state(self, view):
        """(state, reason, error) as kafka.views shows them."""
        return self.row("SELECT state, reason, error FROM kafka.views WHERE view = %s::regclass",
                        [view])

    def wait_state(self, view, state, timeout=PATIENCE):
        states = (state,) if isinstance(state, str) else state
        wait_until(lambda: self.state(view)[0] in states, timeout,
                   lambda: f"{view} is {states}; it is {self.state(view)}")
        return self.state(view)

    def wait_count(self, relation, n, timeout=PATIENCE):
        """Until the relation has n rows; more than n is an error at once."""
        def there():
            found = self.value(f"SELECT count(*) FROM {relation}")
            assert found <= n, f"{relation}: {found} rows, {n} expected"
            return found == n

        wait_until(there, timeout, lambda: f"{relation} has {n} rows; it has "
                   f"{self.value(f'SELECT count(*) FROM {relation}')}"
                   f"; {self.execute('SELECT view, state, reason, error FROM kafka.views')}")

    def wait(self, view, timeout=PATIENCE):
        """kafka.wait: all that was in the topic at the time of the call is in the view."""
        assert self.value("SELECT kafka.wait(%s::regclass, %s::interval)",
                          [view, f"{timeout} s"]), f"{view}: {self.state(view)}"

    # ------------------------------------------------------------------------------ the end

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for c in self._connections:
            c.close()
        if self.cluster.running and not self._keep:
            self._execute_elsewhere(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))


def _literal(value):
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    return "'" + re.sub("'", "''", str(value)) + "'"


def _options(**options):
    return ", ".join(f"{k} '" + str(v).replace("'", "''") + "'" for k, v in options.items())
