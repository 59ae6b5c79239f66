"""Starts a broker, or talks to one, from a shell or from psql's \\!:

    broker run kafka|mock                 prints the address; runs until its input ends or Ctrl-C
    broker create TOPIC [PARTITIONS]      on a real broker
    broker produce TOPIC [PARTITION]      each line of the input: value, or key<TAB>value
    broker mock WORD ...                  a command for the mock of private.py (see mock_broker.cpp)

The address is KAFKA_ENGINE_BROKER's; run starts one of its own.
"""

import os
import socket
import sys

import broker as brokers
from records import produce


class Existing(brokers.Kafka):
    """A broker that somebody else started."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap


def existing():
    return Existing(os.environ["KAFKA_ENGINE_BROKER"])


def run(kind):
    with brokers.make(kind) as broker:
        print(broker.bootstrap, flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            pass


def create(topic, partitions="1"):
    existing().create_topic(topic, int(partitions))


def produce_lines(topic, partition=None):
    def record(line):
        key, tab, value = line.rstrip("\n").partition("\t")
        given = {"value": value, "key": key} if tab else {"value": key}
        if partition is not None:
            given["partition"] = int(partition)
        return {"record": given}

    produce(existing(), topic, [record(line) for line in sys.stdin])


def mock(*words):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.environ["KAFKA_ENGINE_MOCK"])
        with s.makefile("rw") as f:
            f.write("\t".join(words) + "\n")
            f.flush()
            answer = f.readline().rstrip("\n")
    if not answer.startswith("ok"):
        sys.exit(answer)


COMMANDS = {"run": run, "create": create, "produce": produce_lines, "mock": mock}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
