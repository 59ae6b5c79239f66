"""Runs a command against a server: the one that PGHOST names, else a private one with a mock broker.

    private.py [--broker kafka|mock|none] command [argument ...]

The command finds PGHOST and its like in its environment, the broker's address in
KAFKA_ENGINE_BROKER, and can give the mock commands through `test/lib/broker mock ...`.
"""

import os
import socket
import subprocess
import sys
import threading

import broker as brokers
from cluster import Cluster
from process import scratch


def relay(mock, path):
    """Lets other processes give commands to our mock: one line in, one line out, per connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rw") as f:
                words = f.readline().rstrip("\n").split("\t")
                try:
                    f.write("ok " + mock.command(*words) + "\n")
                except RuntimeError as e:
                    f.write(f"error {e}\n")

    threading.Thread(target=serve, daemon=True).start()


def run(command, kind="mock"):
    if os.environ.get("PGHOST"):
        return subprocess.run(command).returncode
    broker = brokers.make(kind).start() if kind != "none" else None
    try:
        with Cluster() as cluster:
            environment = cluster.client_environment()
            if broker:
                environment["KAFKA_ENGINE_BROKER"] = broker.bootstrap
            if kind == "mock":
                environment["KAFKA_ENGINE_MOCK"] = os.path.join(scratch("mock"), "socket")
                relay(broker, environment["KAFKA_ENGINE_MOCK"])
            return subprocess.run(command, env=environment).returncode
    finally:
        if broker:
            broker.close()


def main(arguments):
    kind = "mock"
    if arguments and arguments[0] == "--broker":
        kind = arguments[1]
        arguments = arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    sys.exit(run(arguments, kind))


if __name__ == "__main__":
    main(sys.argv[1:])
