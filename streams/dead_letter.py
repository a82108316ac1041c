"""`dead-letter`: the original bytes of a record that can't be used, and headers that say why and where it came from.

Headers (UTF-8 text): `reason` (one word for scripts), `message` (for people), `topic`, `partition`, `offset`, `timestamp`
(of the original record, milliseconds), and `truncated` (original size in bytes) when the value had to be cut to fit.
"""

from __future__ import annotations

from aiokafka import AIOKafkaProducer, ConsumerRecord

from streams.clients import MAX_RECORD_BYTES
from streams.topics import Topics

HEADERS = {
    "reason": "one word for scripts",
    "message": "for people: which, found, expected",
    "topic": "where the record came from",
    "partition": "of that topic",
    "offset": "of that partition",
    "timestamp": "of the original record, ms",
    "truncated": "original size in bytes, when the value was cut to fit",
}
SMALL_RECORD_BYTES = 900 * 1024  # fits a topic that has the broker's default limit
_MOST_KEY_BYTES = 64 * 1024
_MOST_MESSAGE_BYTES = 4 * 1024


async def send(
    producer: AIOKafkaProducer,
    topics: Topics,
    *,
    record: ConsumerRecord,
    reason: str,
    message: str,
    most_bytes: int = MAX_RECORD_BYTES,
) -> None:
    """Keep one refused record; returns when the broker has acknowledged it, so that its offset may be committed.

    For many at once use `asyncio.gather`: the records share batches.

    Raises:
        MessageSizeTooLargeError: the topic's limit is below what `livetwin` creates it with. An idempotent producer can't go on
            in that partition then: start another, and send with `most_bytes=SMALL_RECORD_BYTES`.
    """
    key: bytes | None = record.key
    value: bytes | None = record.value
    headers = [
        ("reason", reason.encode()),
        ("message", message.encode(errors="replace")[:_MOST_MESSAGE_BYTES]),
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
        ("timestamp", str(record.timestamp).encode()),
    ]
    if key is None and value is None:
        value = b""  # a client may send such a record, but not this one
    if key is not None:
        key = key[:_MOST_KEY_BYTES]
    room = most_bytes - len(key or b"") - _MOST_MESSAGE_BYTES - 1024
    if value is not None and len(value) > room:
        headers.append(("truncated", str(len(value)).encode()))
        value = value[:room]
    await producer.send_and_wait(topics.dead_letter, value, key=key, headers=headers)
