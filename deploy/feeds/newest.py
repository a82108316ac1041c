"""How far event time has come on `telemetry` for some assets, so that a plant without a state file does not feed the past again.

In:   the last records of each partition.
Out:  the newest event time, or None where those assets were never fed. Best effort: it looks at the last records only.
"""

from __future__ import annotations

from aiokafka import ConsumerRecord

from streams import clients
from streams.decoding import decode
from streams.formats.readings import latest_times
from streams.topics import Topics
from twin.errors import ReadingRefused

_LAST_RECORDS = 500  # of each partition


async def newest_event_time(bootstrap: str, topics: Topics, assets: frozenset[str]) -> int | None:
    """Newest event time among the last records of each partition, nanoseconds; None when none is of these assets."""
    consumer = clients.consumer(bootstrap, topics.telemetry, client_id="livetwin-feed-newest")
    newest: int | None = None
    try:
        await consumer.start()
        end = await consumer.end_offsets(consumer.assignment())
        begin = await consumer.beginning_offsets(consumer.assignment())
        for partition, offset in end.items():
            consumer.seek(partition, max(begin[partition], offset - _LAST_RECORDS))
            while await consumer.position(partition) < offset:
                for records in (await consumer.getmany(partition, timeout_ms=200)).values():
                    for record in records:
                        found = _time(record, assets)
                        if found is not None and (newest is None or found > newest):
                            newest = found
    finally:
        await consumer.stop()
    return newest


def _time(record: ConsumerRecord, assets: frozenset[str]) -> int | None:
    if record.key is None or record.key.decode("utf-8", "replace") not in assets:
        return None
    try:
        times = latest_times(decode(record.value, record.headers, record.key))
        return max((time_ns for asset, time_ns in times if asset in assets), default=None)
    except ReadingRefused:
        return None
