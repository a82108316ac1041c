"""What `livetwin doctor` says of a take-over: can a processor that starts here go on where the others stood?

In:   a broker with livetwin's topics.
Out:  findings on the checkpoints, on what retention has left of the log, on the weights that serve. No group moves.
"""

from __future__ import annotations

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.finding import Finding, fault, note, ok
from models.port import VersionRefused
from models.weight_sources import WeightSources
from streams.definitions import read_definitions
from streams.lag import group_of
from streams.models_topic import read_models
from streams.recovery import PartitionCheckpoint, read_checkpoints, refuse_unfit
from streams.topics import Topics
from twin.types import TwinType


async def look_at_recovery(bootstrap: str, topics: Topics) -> list[Finding]:
    """On the twins that are saved, and on the log that a processor which starts now would fold."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics([topics.checkpoint])
        log = [TopicPartition(topics.telemetry, number) for number in range(len(described[0]["partitions"]))]
        offsets = await admin.list_consumer_group_offsets(group_of(topics, "processor"), partitions=log)
    finally:
        await admin.close()
    saved = await read_checkpoints(bootstrap, topics, [place.partition for place in log])
    types = (await read_definitions(bootstrap, topics)).types
    committed = {place.partition: found.offset for place, found in offsets.items() if found.offset >= 0}
    return [_checkpoints(saved, types), _retention(saved, committed, topics)]


def _checkpoints(found: dict[int, PartitionCheckpoint], types: dict[str, TwinType]) -> Finding:
    for one in found.values():
        refuse_unfit(one, types)
    twins, migrated = sum(len(one.twins) for one in found.values()), sum(one.migrated for one in found.values())
    again = sum(one.end - max(one.begin, one.mark or 0) for one in found.values() if not one.refused)
    told = f"{twins:,} twins of {len(found)} partitions can be taken over"
    told += f", {migrated:,} of them from an older schema," if migrated else ""
    told += f" and {again:,} records be folded again"
    refused = {number: one for number, one in found.items() if one.refused}
    for number, one in refused.items():
        key, why = next(iter(one.refused.items()))
        begins = "all that was" if one.begin == 0 else f"retention has dropped what was before {one.begin:,}"
        told += (
            f"; partition {number}: {len(one.refused):,} checkpoints can't be used, so the next owner folds its "
            f"{one.end - one.begin:,} records again ({begins}), the first: {key.decode('utf-8', 'replace')}: {why}"
        )
    if not refused:
        return ok("checkpoints", told)
    return note("checkpoints", told, "let it be folded again, or start the livetwin that wrote them first (docs/recovery.md)")


def _retention(saved: dict[int, PartitionCheckpoint], committed: dict[int, int], topics: Topics) -> Finding:
    """Whether the log still has what was not folded yet, and what follows the checkpoints."""
    lost = {n: one.begin - committed[n] for n, one in sorted(saved.items()) if n in committed and committed[n] < one.begin}
    if lost:
        found = ", ".join(f"partition {number}: {records:,} records" for number, records in lost.items())
        return fault(
            "retention",
            f"telemetry was deleted before a processor had folded it ({found})",
            f"they are gone; raise retention.ms of {topics.telemetry}, or run more processors, before it happens again",
        )
    old = [number for number, one in sorted(saved.items()) if one.mark is not None and one.mark < one.begin]
    if old:
        return fault(
            "retention",
            f"checkpoints of partitions {old} are older than the oldest telemetry: their twins will go on with a gap",
            f"start a processor, and raise retention.ms of {topics.telemetry} above the longest time without one",
        )
    return ok("retention", "telemetry reaches back to what is committed and to every checkpoint")


async def look_at_weights(bootstrap: str, topics: Topics, sources: WeightSources) -> Finding:
    """Versions that serve now, and whether a processor on this machine finds them."""
    view = await read_models(bootstrap, topics)
    serving = {
        (name, served.version, served.uri, served.sha256)
        for name, model in view.models.items()
        for one in model.serving.values()
        for served in (one.switches[-1], one.switches[-1].canary)
        if served is not None
    }
    for name, version, uri, sha256 in sorted(serving):
        try:
            sources.read(uri, sha256)
        except VersionRefused as refusal:
            found = f"{name} {version} serves, and a processor here could not go on with it: {refusal}"
            return fault("weights", found, "let LIVETWIN_WEIGHTS name where its file is, or roll back to a version that is here")
    return ok("weights", f"{len(serving)} versions serve, the weights of each are found here")
