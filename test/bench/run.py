"""Figures on a real Kafka: make bench, or run.py [load] [formats] [backlog] [shapes] [merge] [scans] [latency] [peers].

    load      a million records of 110 bytes into tables of many kinds, beside COPY of the same rows
    formats   the same million rows in each format, beside JSON, COPY and the formats' best libraries alone
    backlog   twenty million records; memory and rate by the size of librdkafka's queue
    shapes    larger records, compressed topics, one partition and many
    merge     aggregates and upserts, beside INSERT ... SELECT ... ON CONFLICT from a plain table
    scans     count(*) of a topic beside librdkafka's bare fetch; INSERT ... SELECT from a topic
    profile   where a batch's time goes, by the counters of kafka.workers (make profile)
    latency   from produce to the visible row, at rest and under load; what a session holds after scans
    peers     ClickHouse, kcat and Python on the same topic: only where PEERS=1 is set, as it installs them

Each table is measured in turns, every case once in each, and shows medians with the least and the most.
Everything runs on this machine, broker included: figures of one run compare, those of two machines do
not. BENCH_RECORDS (1,000,000) and BENCH_TURNS (5) change it. build/bench/ has the tables as Markdown and
as plots.
"""

import os
import platform
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, HERE)

import formats  # noqa: E402
import latency  # noqa: E402
import loads  # noqa: E402
import peers  # noqa: E402
import profile_batches  # noqa: E402
import scans  # noqa: E402
from broker import Kafka  # noqa: E402
from cluster import Cluster  # noqa: E402
from measure import Bench  # noqa: E402

GROUPS = {"load": loads.load, "formats": formats.formats, "backlog": loads.backlog, "shapes": loads.shapes,
          "merge": loads.merge, "scans": scans.scans, "latency": latency.latency, "profile": profile_batches.profile}
if os.environ.get("PEERS") == "1":
    GROUPS["peers"] = peers.peers


def machine(cluster):
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    version = cluster.connect().info.server_version // 10000
    return (f"PostgreSQL {version}, Kafka 4.1 and the bench on {os.cpu_count()} CPUs ({model}), "
            f"{platform.system()} {platform.release()}; shared_buffers 128 MB")


def main():
    wanted = sys.argv[1:] or [name for name in GROUPS if name != "profile"]
    out = os.path.join(HERE, "..", "..", "build", "bench")
    os.makedirs(out, exist_ok=True)
    with Kafka(heap="768m") as broker, Cluster(settings={
            "fsync": "on", "shared_buffers": "128MB", "autovacuum": "off", "max_wal_size": "4GB"}) as cluster:
        bench = Bench(cluster, broker, machine(cluster), out)
        print(bench.machine)
        for name in wanted:
            GROUPS[name](bench)


if __name__ == "__main__":
    main()
