"""What conversions from text cost beside the server's own input functions: conversions.py MODULE.

Loads MODULE (conversions.cpp) into a private server, which is where input functions run. Time only: no
part of the check of instructions. Both sides are compiled as the server was: one with assertions or
without optimisation says little, and the table's head says so.
"""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

# Values as in bench-micro's documents, by n = 0, 1, ...
TEXTS = {
    "boolean": "CASE n % 2 WHEN 0 THEN 'true' ELSE 'false' END",
    "int8": "(n * 1000003)::text",
    "float8": "round(n * 1.37, 7)::text",
    "numeric": "n * 731 || '.' || lpad((n % 100)::text, 2, '0')",
    "date": "'2026-03-' || lpad((n % 28 + 1)::text, 2, '0')",
    "timestamp": "to_char(timestamp '2026-03-01 10:00:00' + n * interval '61 s', 'YYYY-MM-DD HH24:MI:SS')",
    "timestamptz": "to_char(timestamp '2026-03-01 10:00:00' + n * interval '61 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    "uuid": "md5(n::text)::uuid::text",
    "bytea": r"'\x' || md5(n::text)",
}


def main():
    try:
        from cluster import Cluster, find_pg_config
        from process import scratch
        folder = subprocess.run([find_pg_config(), "--bindir"], check=True, capture_output=True, text=True)
        if not os.path.exists(os.path.join(folder.stdout.strip(), "postgres")):
            raise RuntimeError("no server program")
    except (ImportError, RuntimeError) as e:
        print(f"conversions beside the server's: not measured: {e}")
        return
    module = shutil.copy(sys.argv[1], scratch("micro"))
    with Cluster(preload=False) as cluster, cluster.connect() as session:
        session.execute("CREATE FUNCTION micro_conversion(regtype, text[], int) RETURNS float8[]"
                        f" LANGUAGE C STRICT AS '{module}'")
        (checks,) = session.execute("SHOW debug_assertions").fetchone()
        version = session.info.server_version // 10000
        print(f"conversions from text, ns per value, PostgreSQL {version}, assertions {checks}:")
        for name, text in TEXTS.items():
            ((ours, theirs),) = session.execute(
                f"SELECT micro_conversion('{name}', array_agg({text}), 300) FROM generate_series(0, 999) n").fetchone()
            print(f"{name:<18}{ours:>7.1f} ours{theirs:>7.1f} the server's{theirs / ours:>6.1f} times")


if __name__ == "__main__":
    main()
