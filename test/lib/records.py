"""Putting records into topics."""

import json

import confluent_kafka

from wait import wait_until


def encode(value):
    """bytes and None (a tombstone) as they are, text in UTF-8, all else as JSON."""
    if value is None or isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def produce(broker, topic, values, partition=None, key=None, headers=None, timestamp=None,
            transactional_id=None, abort=False, **config):
    """Produces values in order and waits for the broker's word; [(partition, offset)] of each.

    A value is bytes, text, None (tombstone), something for JSON, or a dict of producer arguments
    under the one key "record": {"record": {"value": ..., "key": ..., "partition": ..., "headers":
    ..., "timestamp": ...}}. With transactional_id all are one transaction, aborted where abort is
    set, and over for readers too: the broker says that it has ended before its markers are written.
    """
    if transactional_id is not None:
        config["transactional_id"] = transactional_id
    producer = broker.producer(**config)
    if transactional_id is not None:
        producer.init_transactions(30)
        producer.begin_transaction()
    placed = []
    failures = []

    def delivered(index):
        def call(error, message):
            if error:
                failures.append(f"{topic}: {error}")
            else:
                placed[index] = (message.partition(), message.offset())
        return call

    common = {"key": encode(key), "partition": partition, "headers": headers,
              "timestamp": timestamp}
    for index, value in enumerate(values):
        record = dict(common)
        if isinstance(value, dict) and set(value) == {"record"}:
            record.update(value["record"])
            record["key"] = encode(record.get("key"))
            value = record.pop("value", None)
        placed.append(None)
        arguments = {k: v for k, v in record.items() if v is not None}
        while True:
            try:
                producer.produce(topic, encode(value), on_delivery=delivered(index), **arguments)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if transactional_id is not None and abort:
        producer.flush(30)
        producer.abort_transaction(30)
    elif transactional_id is not None:
        producer.commit_transaction(30)
    left = producer.flush(60)
    if failures or left:
        raise confluent_kafka.KafkaException(f"{len(failures)} refused, {left} left: {failures[:3]}")
    if transactional_id is not None:
        wait_for_markers(broker, topic, placed)
    return placed


def wait_for_markers(broker, topic, placed):
    """Until the last stable offset of each partition is behind what was placed there."""
    consumer = broker.consumer()
    try:
        for partition, last in dict(sorted(placed)).items():
            at = confluent_kafka.TopicPartition(topic, partition)
            wait_until(lambda: consumer.get_watermark_offsets(at, timeout=10)[1] > last,
                       what=f"markers of a transaction in {topic}/{partition}")
    finally:
        consumer.close()
