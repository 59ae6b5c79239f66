"""Reading a topic in a session, beside librdkafka alone."""

import os
import subprocess

from database import Database
from loads import COLUMNS, NAMES, Into, record
from measure import RECORDS, Case

HERE = os.path.dirname(os.path.abspath(__file__))


def scans(bench):
    topic = bench.fill(RECORDS, 4, record)
    bare = os.path.join(bench.out, "bare_fetch")
    subprocess.run(["g++", "-std=c++20", "-O2", "-o", bare, os.path.join(HERE, "bare_fetch.cpp"),
                    "-lrdkafka"], check=True)

    def fetch():
        subprocess.run([bare, bench.broker.bootstrap, topic, "4", str(RECORDS)], check=True)
        return None, 0

    with Database(bench.cluster) as db:
        into = Into(bench, db, topic, COLUMNS, NAMES, RECORDS)
        into.write_files()
        cases = [
            Case("bare fetch by librdkafka", fetch),
            into.statement("count(*)", "SELECT count(*) FROM records"),
            into.statement("sum of a column", "SELECT sum(id) FROM records"),
            into.statement("a range of 1,000 offsets",
                           f"SELECT count(id) FROM records WHERE _offset >= {RECORDS // 8} AND _offset < {RECORDS // 8 + 250}"),
            into.statement("INSERT SELECT from the topic", f"INSERT INTO copied SELECT {NAMES} FROM records"),
        ] + into.copies("csv")
        cases[3].rows = 1000
        bench.turns(db, cases)
        bench.table("scans", f"{RECORDS:,} records of 110 bytes, 4 partitions, read in a session", cases,
                    ["bare fetch by librdkafka", "COPY CSV"])
