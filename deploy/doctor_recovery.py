"""What `livetwin doctor` says of a take-over: can a processor that starts here go on where the others stood?

In:   a broker with livetwin's topics.
Out:  one finding on the checkpoints, one on the weights that serve now. Nothing is written, no group moves.
"""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient

from models.port import VersionRefused
from models.weight_sources import WeightSources
from streams.definitions import read_definitions
from streams.models_topic import read_models
from streams.recovery import PartitionCheckpoint, read_checkpoints, refuse_unfit
from streams.topics import Topics
from twin.types import TwinType

Found = tuple[bool, str]  # whether all is as it should be, and in words


async def look_at_checkpoints(bootstrap: str, topics: Topics) -> Found:
    """Twins that are saved, and which of them the next owner can't use."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        partitions = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics([topics.checkpoint])}
    finally:
        await admin.close()
    types = (await read_definitions(bootstrap, topics)).types
    return _told(await read_checkpoints(bootstrap, topics, range(partitions[topics.checkpoint])), types)


def _told(found: dict[int, PartitionCheckpoint], types: dict[str, TwinType]) -> Found:
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
    return not refused, told


async def look_at_weights(bootstrap: str, topics: Topics, sources: WeightSources) -> Found:
    """Versions that serve now, and whether a processor on this machine finds them."""
    view = await read_models(bootstrap, topics)
    serving = {
        (name, one.switches[-1].version, one.switches[-1].uri, one.switches[-1].sha256)
        for name, model in view.models.items()
        for one in model.serving.values()
    }
    for name, version, uri, sha256 in sorted(serving):
        try:
            sources.read(uri, sha256)
        except VersionRefused as refusal:
            return False, f"{name} {version} serves, and a processor here could not go on with it: {refusal}"
    return True, f"{len(serving)} versions serve, the weights of each are found here"
