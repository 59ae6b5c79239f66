"""A consumer as people write it: confluent_kafka, json, psycopg. A process of its own, run by peers.py:

    peer_consumer.py insert|copy BATCH BOOTSTRAP TOPIC ROWS CONNINFO

Says ready; at a line of input reads ROWS records into the table copied, in transactions of at most BATCH
records, each followed by the commit of its offsets, and says "count sum(id)" of what it has written.
"""

import json
import sys
import uuid

import confluent_kafka
import psycopg

way, batch, bootstrap, topic, rows, conninfo = sys.argv[1:]
names = ("id", "name", "at", "amount", "note")
connection = psycopg.connect(conninfo)
print("ready", flush=True)

sys.stdin.readline()
consumer = confluent_kafka.Consumer({
    "bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest",
    "enable.auto.commit": False})
consumer.subscribe([topic])
count = total = idle = 0
while count < int(rows) and idle < 60:
    values = []
    idle += 1
    for message in consumer.consume(int(batch), timeout=1.0):
        if message.error():
            raise SystemExit(str(message.error()))
        record = json.loads(message.value())
        values.append([record[n] for n in names])
    if not values:
        continue
    with connection.cursor() as cursor:
        if way == "insert":
            cursor.executemany("INSERT INTO copied (id, name, at, amount, note) VALUES (%s, %s, %s, %s, %s)", values)
        else:
            with cursor.copy("COPY copied (id, name, at, amount, note) FROM STDIN") as copy:
                for v in values:
                    copy.write_row(v)
    connection.commit()
    consumer.commit(asynchronous=False)
    count, total, idle = count + len(values), total + sum(v[0] for v in values), 0
print(count, total, sep="\t", flush=True)
sys.stdin.readline()
