"""Records what Debezium's own engine writes for a table of a real PostgreSQL: test/data/debezium_postgres.jsonl,
a key and a value in each line, as its JSON converters without schemas have them. Its jars come by Maven.

    $(test/lib/python) test/lib/debezium.py        needs a JDK and a server with pgoutput (PG_CONFIG)
"""

import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cluster import Cluster  # noqa: E402
from maven import fetched  # noqa: E402
from wait import wait_until  # noqa: E402

VERSION = "2.7.4.Final"
FIXTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "debezium_postgres.jsonl")

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>t</groupId><artifactId>t</artifactId><version>1</version><dependencies>
<dependency><groupId>io.debezium</groupId><artifactId>debezium-embedded</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>io.debezium</groupId><artifactId>debezium-connector-postgres</artifactId><version>{VERSION}</version></dependency>
</dependencies></project>"""

JAVA = """
import io.debezium.engine.*;
import io.debezium.engine.format.Json;
import java.io.*;
import java.util.*;
import java.util.concurrent.*;

public class Record {
    public static void main(String[] a) throws Exception {
        Properties p = new Properties();
        try (Reader r = new FileReader(a[0])) { p.load(r); }
        PrintStream out = new PrintStream(new FileOutputStream(a[1]), true, "UTF-8");
        DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class).using(p)
            .notifying(e -> out.println("{\\"key\\": " + e.key() + ", \\"value\\": " + e.value() + "}")).build();
        Thread t = new Thread(engine);
        t.start();
        System.in.read();
        engine.close();
        t.join(10000);
        System.exit(0);
    }
}
"""

TABLE = """
CREATE TABLE things (id int, part text, n numeric(12, 3), any_n numeric, i8 bigint, r real, f double precision,
    b boolean, t text, v varchar(9), c char(4), by bytea, d date, ti time, ts timestamp, ms timestamp(3),
    tz timestamptz, iv interval, u uuid, j jsonb, bits bit(10), ints int[], texts text[], large text,
    PRIMARY KEY (id, part))
"""
ROW = """(%(id)s, 'a', -1234.567, 1e30, 9007199254740993, 1.5, 0.1, true, 'é "q" \\', 'v', 'ab', '\\x00ff01', '2017-09-15',
    '12:34:56.789012', '2017-09-15 07:07:00.123456', '2017-09-15 07:07:00.123', '2017-09-15 09:07:00.123456+02',
    '1 year 2 mons 3 days 04:05:06.7', '0e984725-c51c-4bf4-9960-e1c80e27aba0', '{"a": [1, null]}', B'1000000001',
    '{1,NULL,3}', ARRAY['x', NULL, 'y,"z'], repeat(md5('%(id)s'), 75))"""


def changes(c):
    for n in (1, 2, 3, 4):
        c.execute("INSERT INTO things VALUES " + ROW % {"id": n})
    c.execute("INSERT INTO things (id, part) VALUES (5, 'nulls')")
    c.execute("INSERT INTO things (id, part, d, ts, tz) VALUES (6, 'infinite', NULL, 'infinity', '-infinity')")
    for n in (1, 4):
        c.execute("UPDATE things SET t = 'changed', n = 0.001 WHERE id = %s", [n])
    c.execute("UPDATE things SET id = 14, t = 'moved' WHERE id = 4")
    c.execute("UPDATE things SET large = 'small now' WHERE id = 1")
    c.execute("DELETE FROM things WHERE id = 2")
    with c.transaction():
        for n in range(20):
            c.execute("INSERT INTO things (id, part, i8) VALUES (100, 'busy', %s) ON CONFLICT (id, part)"
                      " DO UPDATE SET i8 = excluded.i8", [n])
    c.execute("DELETE FROM things WHERE id = 3")
    c.execute("SELECT pg_logical_emit_message(true, 'p', 'hello')")


def record(out):
    work = tempfile.mkdtemp(prefix="debezium.")
    try:
        jars = fetched(f"debezium-{VERSION}", "dependency:copy-dependencies", "-DoutputDirectory={out}", pom=POM)
        classes = f"{jars}/*:{work}"
        with open(f"{work}/Record.java", "w") as f:
            f.write(JAVA)
        subprocess.run(["javac", "-cp", classes, "-d", work, f"{work}/Record.java"], check=True)
        with Cluster(preload=False, settings={"wal_level": "logical", "listen_addresses": "127.0.0.1"}) as cluster:
            run(cluster, classes, work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(cluster, classes, work, out):
    properties = {
        "name": "e", "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "database.hostname": "127.0.0.1", "database.port": cluster.port, "database.user": cluster.user,
        "database.password": "none", "database.dbname": "postgres", "topic.prefix": "srv",
        "plugin.name": "pgoutput", "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false", "table.include.list": "public.things",
        "poll.interval.ms": 50, "offset.flush.interval.ms": 0}
    with open(f"{work}/p.properties", "w") as f:
        f.writelines(f"{k}={v}\n" for k, v in properties.items())
    with cluster.connect("postgres") as c:
        c.execute(TABLE)
        c.execute("ALTER TABLE things ALTER large SET STORAGE external")
        c.execute("INSERT INTO things VALUES " + ROW % {"id": 0})  # for the snapshot
        engine = subprocess.Popen(["java", "-cp", classes, "Record", f"{work}/p.properties", out],
                                  stdin=subprocess.PIPE, stdout=sys.stderr)
        try:
            def lines():
                with open(out) as f:
                    return f.read().splitlines()

            streams = "SELECT count(*) FROM pg_replication_slots WHERE active"
            wait_until(lambda: os.path.exists(out) and lines() and c.execute(streams).fetchone()[0], 60,
                       "the connector follows the table")
            changes(c)
            wait_until(lambda: '"op":"m"' in lines()[-1], 60, "the connector has seen the last change")
        finally:
            engine.stdin.close()
            engine.wait(30)


if __name__ == "__main__":
    record(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else FIXTURE))
