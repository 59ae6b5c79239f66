"""The one place that starts a broker: a real Apache Kafka (KRaft, one node), or librdkafka's mock.

    with Kafka() as broker: ...  broker.bootstrap, stop(), start(), kill(), freeze(), thaw()
    with KafkaNodes(3) as k: ... the same for a cluster; k.nodes are its brokers
    with Mock() as broker: ...   broker.bootstrap, command("down 1"), ...

All offer create_topic() and producer(). A broker listens on 127.0.0.1 only, keeps its port and its
data across stop() and start(), and dies with the process that started it. A real one has two more addresses:
login_address wants SASL PLAIN (user `app`, password `right`), and what comes by relayed_port is told that
the broker's address is 127.0.0.1:relay_port, where a test may put something in between (relay.py).
"""

import base64
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import uuid

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from maven import NotFetched, fetched
from process import die_with_parent, free_port, remove_scratch, scratch
from wait import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
KAFKA_VERSION = "4.1.0"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>kafka_engine</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
  <version>{KAFKA_VERSION}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
  <version>{KAFKA_VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId>
  <version>1.7.36</version></dependency>
</dependencies></project>
"""

SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map":
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,RELAYED:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
    "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.login.plain.sasl.jaas.config":
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        "user_app=\"right\" user_spy=\"hush-hush-77\";",
    "inter.broker.listener.name": "PLAINTEXT",
    # One node keeps one copy, and few partitions of its own, so that it starts and stops fast.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After kill() the next start must not wait for the old session's end (9 s by default).
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "300",
    # On a machine that stands still for a while the broker must not give up.
    "initial.broker.registration.timeout.ms": "600000",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "message.max.bytes": "110000000",
    "socket.request.max.bytes": "120000000",
    # Tests make their topics themselves: one that is missing must be missing.
    "auto.create.topics.enable": "false",
    # Compaction and expiry within seconds, for the topics that ask for them.
    "log.retention.check.interval.ms": "500",
    "log.cleaner.backoff.ms": "200",
    "log.initial.task.delay.ms": "500",
    "log.segment.delete.delay.ms": "500",
    "file.delete.delay.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


def jars():
    """The folder with Kafka's jars; fetched by Maven when it is not there (54 MB)."""
    try:
        return fetched(f"kafka-{KAFKA_VERSION}", "dependency:copy-dependencies", "-DoutputDirectory={out}", pom=POM)
    except NotFetched as e:
        raise SystemExit(str(e)) from None


def new_cluster_id():
    """As Kafka's own tool makes them: 16 bytes in base64; not with a minus in front."""
    return base64.urlsafe_b64encode(b"k" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


class Broker:
    """What all kinds have in common: topics and clients."""

    bootstrap = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def admin(self):
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0,
                            "socket.timeout.ms": 10000})

    def producer(self, **config):
        """A confluent_kafka producer; config with _ for . as in the product."""
        settings = {"bootstrap.servers": self.bootstrap, "linger.ms": 2, "log_level": 0}
        settings.update({k.replace("_", "."): v for k, v in config.items()})
        return confluent_kafka.Producer(settings)

    def consumer(self, **config):
        """A consumer for manual assignment; it commits nothing."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": f"check-{uuid.uuid4().hex}",
                    "enable.auto.commit": False, "enable.partition.eof": True,
                    "auto.offset.reset": "earliest", "log_level": 0}
        settings.update({k.replace("_", "."): v for k, v in config.items()})
        return confluent_kafka.Consumer(settings)

    def delete_topic(self, topic):
        admin = self.admin()  # its end would end the request
        for future in admin.delete_topics([topic], operation_timeout=10).values():
            future.result(10)

    def read_all(self, topic, **config):
        """Every visible record of a topic, in order per partition: a reader of another house."""
        consumer = self.consumer(**config)
        try:
            layout = consumer.list_topics(topic, timeout=10).topics[topic]
            open_partitions = set(layout.partitions)
            consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING)
                             for p in open_partitions])
            while open_partitions:
                messages = consumer.consume(10000, timeout=1.0)
                for m in messages:
                    if m.error() is None:
                        yield m
                    elif m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                        open_partitions.discard(m.partition())
                    else:
                        raise confluent_kafka.KafkaException(m.error())
        finally:
            consumer.close()


class Kafka(Broker):
    """A real broker. Its directory holds settings, data and the output of its process.

    number, voters and cluster_id are given where it is one of several (KafkaNodes).
    """

    def __init__(self, settings=None, heap="512m", number=1, controller=None, voters=None,
                 cluster_id=None):
        self.settings = dict(SETTINGS, **(settings or {}))
        self.heap = heap
        self.number = number
        self._controller = controller or free_port()
        self._voters = voters or f"{number}@127.0.0.1:{self._controller}"
        self._cluster_id = cluster_id
        self.process = None
        self.directory = None
        self.bootstrap = None
        self._frozen = False

    def prepare(self):
        """Makes the directory; start() does so where it was not done."""
        if self.directory is not None:
            return
        self.directory = scratch("kafka")
        port, login = free_port(), free_port()
        self.relayed_port, self.relay_port = free_port(), free_port()
        self.bootstrap, self.login_address = f"127.0.0.1:{port}", f"127.0.0.1:{login}"
        self.settings.update({
            "node.id": self.number,
            "controller.quorum.voters": self._voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{self._controller},"
                         f"LOGIN://127.0.0.1:{login},RELAYED://127.0.0.1:{self.relayed_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},LOGIN://127.0.0.1:{login},"
                                    f"RELAYED://127.0.0.1:{self.relay_port}",
            "log.dirs": os.path.join(self.directory, "data"),
        })
        with open(os.path.join(self.directory, "server.properties"), "w") as f:
            f.writelines(f"{k}={v}\n" for k, v in self.settings.items())
        self._run("kafka.tools.StorageTool", "format", "-t", self._cluster_id or new_cluster_id(),
                  "-c", self._file())

    def _file(self):
        return os.path.join(self.directory, "server.properties")

    def _java(self, main, *arguments, heap=None):
        return ["java", f"-Xmx{heap or self.heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-Xshare:auto", "-cp", os.path.join(jars(), "*"), main, *arguments]

    def _run(self, *arguments):
        done = subprocess.run(self._java(*arguments, heap="128m"), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"kafka: {done.stdout}{done.stderr}")

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, wait=True):
        self.prepare()
        if not self.running:
            output = open(os.path.join(self.directory, "output"), "a")
            with output:
                self.process = subprocess.Popen(
                    self._java("kafka.Kafka", self._file()), stdin=subprocess.DEVNULL,
                    stdout=output, stderr=subprocess.STDOUT, cwd=self.directory,
                    start_new_session=True, preexec_fn=die_with_parent)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=180):
        admin = self.admin()

        def ready():
            if not self.running:
                with open(os.path.join(self.directory, "output")) as f:
                    raise RuntimeError(f"kafka did not start: {f.read()[-2000:]}")
            try:
                return bool(admin.list_topics(timeout=1).brokers)
            except confluent_kafka.KafkaException:
                return False

        wait_until(ready, timeout, "the broker answers")

    def _signal(self, signum):
        if self.running:
            self.process.send_signal(signum)

    def stop(self):
        """In order: the log is flushed, clients see the connections closed."""
        self.thaw()
        self._signal(signal.SIGTERM)
        if self.process:
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        self._signal(signal.SIGKILL)
        if self.process:
            self.process.wait(30)
        self._frozen = False

    def freeze(self):
        """SIGSTOP: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self):
        if self._frozen:
            self._signal(signal.SIGCONT)
            self._frozen = False

    @contextlib.contextmanager
    def frozen(self):
        self.freeze()
        try:
            yield self
        finally:
            self.thaw()

    @contextlib.contextmanager
    def gone(self):
        self.kill()
        try:
            yield self
        finally:
            self.start()

    def create_topic(self, topic, partitions=1, config=None, copies=1, placed=None):
        """placed: for each partition the numbers of its brokers, the preferred leader first."""
        where = {"replica_assignment": placed} if placed else {"replication_factor": copies}
        new = NewTopic(topic, partitions, config=config or {}, **where)
        admin = self.admin()
        for future in admin.create_topics([new], operation_timeout=20).values():
            future.result(20)
        # The answer comes before every part of the broker knows the topic.
        wait_until(lambda: self._partitions(topic) == partitions, 20, f"topic {topic} has leaders")
        return topic

    def add_partitions(self, topic, total):
        admin = self.admin()
        for future in admin.create_partitions([NewPartitions(topic, total)]).values():
            future.result(20)
        wait_until(lambda: self._partitions(topic) == total, 20, f"topic {topic} has leaders")

    def _partitions(self, topic):
        found = self.admin().list_topics(topic, timeout=10).topics[topic].partitions
        return len(found) if all(p.leader >= 0 for p in found.values()) else 0

    def tool(self, main, *arguments, stdin=None):
        """Runs one of Kafka's own command-line tools, as tool("kafka.admin.ConfigCommand", ...)."""
        return subprocess.run(self._java(main, *arguments, heap="128m"), input=stdin, check=True,
                              capture_output=True, text=True).stdout

    def delete_records(self, topic, partition, before):
        """Truncates a partition's head: records below `before` are gone."""
        import json
        path = os.path.join(self.directory, f"delete-{uuid.uuid4().hex}.json")
        with open(path, "w") as f:
            json.dump({"partitions": [{"topic": topic, "partition": partition, "offset": before}],
                       "version": 1}, f)
        self.tool("org.apache.kafka.tools.DeleteRecordsCommand", "--bootstrap-server",
                  self.bootstrap, "--offset-json-file", path)

    def close(self):
        if self.process:
            self.kill()
            self.process = None
        if self.directory:
            remove_scratch(self.directory)
            self.directory = None


class KafkaNodes(Kafka):
    """Several real brokers that are one cluster; to stop one, nodes[i].kill() and start()."""

    def __init__(self, count=3, settings=None, heap="192m"):
        ports = [free_port() for _ in range(count)]
        voters = ",".join(f"{i}@127.0.0.1:{p}" for i, p in enumerate(ports, 1))
        cluster_id = new_cluster_id()
        small = {"log.cleaner.dedupe.buffer.size": "4000000", **(settings or {})}
        self.nodes = [Kafka(small, heap, i, p, voters, cluster_id)
                      for i, p in enumerate(ports, 1)]

    def start(self, wait=True):
        # Not their processes: those die with the thread that starts them.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(Kafka.prepare, self.nodes))
        for node in self.nodes:
            node.start(wait=False)
        self.bootstrap = ",".join(n.bootstrap for n in self.nodes)
        for node in self.nodes if wait else ():
            node.wait_ready()
        return self

    def leader_of(self, topic, partition):
        """The node that leads; None: nobody does."""
        found = self.admin().list_topics(topic, timeout=10).topics[topic].partitions[partition].leader
        return next((n for n in self.nodes if n.number == found), None)

    def close(self):
        for node in self.nodes:
            node.close()


class Mock(Broker):
    """librdkafka's mock cluster in a process of its own: faults on command, gone without a trace.

    It keeps about 5 MB per partition, knows no transactions' markers and no compaction: the real
    one is the judge.
    """

    def __init__(self, brokers=1):
        self.brokers = brokers
        self.process = None

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        program = os.path.join(HERE, "mock_broker")
        if not os.path.exists(program):
            raise RuntimeError("test/lib/mock_broker is not built: make test/lib/mock_broker")
        self.process = subprocess.Popen(
            [program, str(self.brokers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            bufsize=1, start_new_session=True, preexec_fn=die_with_parent)
        self.bootstrap = self.process.stdout.readline().strip()
        if not self.bootstrap:
            raise RuntimeError("the mock broker did not start")
        return self

    def command(self, *words):
        """One command of mock_broker.cpp; its answer, or RuntimeError."""
        self.process.stdin.write("\t".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip("\n")
        if not answer.startswith("ok"):
            raise RuntimeError(f"mock broker: {words}: {answer or 'gone'}")
        return answer[3:]

    def create_topic(self, topic, partitions=1, config=None):
        self.command("topic", topic, partitions)
        return topic

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.kill()
        if self.process:
            self.process.stdin.close()
            self.process.stdout.close()
        self.process = None


def make(kind, **arguments):
    """A broker by the name that make demo and others are given: kafka or mock."""
    return {"kafka": Kafka, "mock": Mock}[kind](**arguments)
