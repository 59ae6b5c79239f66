"""Our conversions against the server's own input functions, on random inputs (see test/oracle)."""

import os
import shutil
import subprocess

import pytest

from cluster import TOP, Cluster, find_pg_config

INPUTS = int(os.environ.get("KAFKA_ENGINE_ORACLE_INPUTS", "1000000"))
SEED = int(os.environ.get("KAFKA_ENGINE_ORACLE_SEED", "1"))


@pytest.fixture(scope="module")
def oracle():
    """A connection to a server with the oracle's functions."""
    subprocess.run(["make", "-s", "-C", os.path.join(TOP, "test", "oracle"),
                    f"PG_CONFIG={find_pg_config()}"], check=True, stdout=subprocess.DEVNULL)
    with Cluster(preload=False) as cluster:
        module = os.path.join(cluster.directory, "oracle.so")
        shutil.copy(os.path.join(TOP, "build", "oracle", "oracle.so"), module)
        os.chmod(module, 0o755)
        with cluster.connect() as connection:
            connection.execute(f"""
                CREATE FUNCTION oracle_compare(subject text, inputs bigint, seed bigint,
                    OUT "values" bigint, OUT refusals bigint, OUT "left" bigint,
                    OUT mismatches bigint, OUT sample text)
                AS '{module}' LANGUAGE C STRICT;
                CREATE FUNCTION oracle_subjects() RETURNS text[] AS '{module}' LANGUAGE C""")
            yield connection


def compare(oracle, subject, inputs, seed):
    values, refusals, left, mismatches, sample = oracle.execute(
        "SELECT * FROM oracle_compare(%s, %s, %s)", (subject, inputs, seed)).fetchone()
    assert mismatches == 0, f"{subject}:\n{sample}"
    return values, refusals, left


def test_same_values_same_refusals(oracle):
    """A million inputs for each type that has a fast path; the fast paths must really be taken."""
    for subject in oracle.execute("SELECT oracle_subjects()").fetchone()[0]:
        values, refusals, left = compare(oracle, subject, INPUTS, SEED)
        print(f"{subject}: {values} values, {refusals} refused, {left} left to the server")
        assert values > INPUTS / 20, subject


@pytest.mark.parametrize("datestyle, timezone", [("SQL, DMY", "America/St_Johns"),
                                                 ("German", "Asia/Kathmandu"),
                                                 ("Postgres, YMD", "UTC")])
def test_sessions_settings_change_nothing(oracle, datestyle, timezone):
    oracle.execute("SELECT set_config('datestyle', %s, false), set_config('timezone', %s, false)",
                   (datestyle, timezone))
    for subject in ("date", "time", "timestamp", "timestamptz", "timestamp(3)"):
        compare(oracle, subject, INPUTS // 10, SEED + 1)
