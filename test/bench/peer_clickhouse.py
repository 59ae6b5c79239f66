"""ClickHouse's Kafka engine in a process of its own, by chdb. Run by peers.py with the Python that has it:

    peer_clickhouse.py BOOTSTRAP TOPIC CONSUMERS ROWS FOLDER

Makes the Kafka table and the MergeTree table, says ready; at a line of input makes the materialized
view, which begins to read, and says "count sum(id)" once all rows are there or none come any more.
"""

import os
import sys
import time
import uuid

from chdb import session

bootstrap, topic, consumers, rows, folder = sys.argv[1:]
server = session.Session(folder)
columns = "id Int64, name String, at DateTime('UTC'), amount Decimal(18, 2), note String"
# Blocks and flushes are left at their defaults; a consumer gets the thread that it needs.
server.query(f"""CREATE TABLE source ({columns}) ENGINE = Kafka SETTINGS
    kafka_broker_list = '{bootstrap}', kafka_topic_list = '{topic}', kafka_group_name = '{uuid.uuid4().hex}',
    kafka_format = 'JSONEachRow', kafka_num_consumers = {consumers}, kafka_thread_per_consumer = 1,
    date_time_input_format = 'best_effort'""")
server.query(f"CREATE TABLE target ({columns}) ENGINE = MergeTree ORDER BY id")
print("ready", flush=True)

sys.stdin.readline()
server.query("CREATE MATERIALIZED VIEW v TO target AS SELECT * FROM source")
found = idle = 0
while found < int(rows) and idle < 3000:  # looks, not seconds: a machine may stand still
    time.sleep(0.02)
    idle += 1
    now = int(server.query("SELECT count() FROM target", "CSV").bytes())
    if now != found:
        found, idle = now, 0
print(server.query("SELECT count(), sum(id) FROM target", "TSV").bytes().decode().strip(), flush=True)
sys.stdin.readline()
os._exit(0)  # its threads need not be asked
