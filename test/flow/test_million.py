"""A million records through a view with a join; every row is compared with what was produced."""

import json

import confluent_kafka
import pytest

RECORDS = 1_000_000
PARTITIONS = 4
CUSTOMERS = 1000


def record(n):
    """The n-th record, as what is produced and as what the view must hold."""
    customer = n * 7919 % (CUSTOMERS + CUSTOMERS // 10)  # every eleventh has no row to join with
    amount = f"{n % 100000}.{n % 100:02}{n * 31 % 1000:03}"
    at = f"2026-03-{n % 28 + 1:02} {n % 24:02}:{n % 60:02}:{n * 7 % 60:02}.{n % 1000000:06}+00"
    note = None if n % 13 == 0 else f"note {n} “quoted” \\ /\n" + "ä" * (n % 5)
    value = json.dumps({"id": n, "customer": customer, "at": at.replace(" ", "T"),
                        "amount": "@", "note": note, "good": n % 3 == 0},
                       ensure_ascii=n % 2 == 0).replace('"@"', amount)
    row = None
    if customer < CUSTOMERS:
        row = (n, f"customer {customer}", at.replace("+00", ""), amount, note, n % 3 == 0,
               n % PARTITIONS, n // PARTITIONS)
    return value, row


def produce_all(kafka, topic):
    producer = kafka.producer(linger_ms=20, batch_num_messages=20000,
                              queue_buffering_max_messages=200000)
    failures = []

    def delivered(error, _):
        if error:
            failures.append(error)

    for n in range(RECORDS):
        while True:
            try:
                producer.produce(topic, record(n)[0], partition=n % PARTITIONS,
                                 on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.05)
        if n % 1000 == 0:
            producer.poll(0)
    if producer.flush(120) or failures:
        raise confluent_kafka.KafkaException(str(failures[:3]))


@pytest.mark.slow
def test_million_records_through_a_join(db, kafka, new_topic):
    topic = new_topic(partitions=PARTITIONS)
    db.topic_table("orders", "id bigint, customer int, at timestamptz, amount numeric, note text, "
                             "good boolean, _partition int, _offset bigint", kafka, topic)
    db.execute("CREATE TABLE customers (number int PRIMARY KEY, name text)")
    db.execute("INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(0, %s) n",
               [CUSTOMERS - 1])
    produce_all(kafka, topic)
    db.view("sold", "SELECT o.id, c.name, o.at, o.amount, o.note, o.good, o._partition, o._offset "
                    "FROM orders o JOIN customers c ON c.number = o.customer")
    db.wait("sold", 300)

    found = 0
    with db.connect(autocommit=False).cursor(name="rows") as cursor:
        cursor.itersize = 20000
        cursor.execute("SELECT id, name, to_char(at, 'YYYY-MM-DD HH24:MI:SS.US'), amount::text, note, "
                       "good, _partition, _offset FROM sold ORDER BY id")
        expected = (row for row in (record(n)[1] for n in range(RECORDS)) if row)
        for row in cursor:
            assert row == next(expected)
            found += 1
        assert next(expected, None) is None
    assert found > RECORDS * 0.9
