"""What `livetwin doctor` says of the broker: which it is, its topics, what recovery finds there, who is at work, feeders' clocks.

In:   the settings; a broker, asked and not changed.
Out:  findings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from deploy.doctor_recovery import look_at_recovery, look_at_weights
from deploy.finding import Finding, fault, note, ok
from deploy.kafka_probe import answers
from deploy.ports import why_taken
from deploy.roles import bootstrap_of, weight_sources
from deploy.settings import KafkaSettings, read
from deploy.topics import TopicMismatch, differing_topics, missing_topics
from streams import clients
from streams.lag import LagProbe
from streams.replaying import read_up_to
from streams.topics import HOUR_MS, Topics

_AHEAD_S = 60.0  # of a feeder's clock
_MUCH_LAG = 10_000  # records
_STATE = ("cleanup.policy", "partitions")  # settings without which state is lost or read by the wrong owner
# API key → the version of it that livetwin's clients need
_NEEDED = {0: ("Produce", 3), 1: ("Fetch", 4), 2: ("ListOffsets", 1), 22: ("InitProducerId", 0), 32: ("DescribeConfigs", 0)}


def examine() -> Iterator[Finding]:
    """Raises LivetwinError for settings that can't be read."""
    settings = read(KafkaSettings)
    bootstrap, topics = bootstrap_of(settings), Topics(settings.topic_prefix)
    if not answers(bootstrap):
        yield _away(settings, bootstrap)
        return
    yield from asyncio.run(_all(bootstrap, topics))


def _away(settings: KafkaSettings, bootstrap: str) -> Finding:
    if settings.kafka != "embedded":
        found = f"{bootstrap} does not answer a metadata request"
        return fault("broker", found, "check LIVETWIN_KAFKA, the broker's advertised.listeners and the network")
    reason = why_taken(settings.kafka_port)
    if reason:
        return fault("broker", f"port {settings.kafka_port}: {reason}, and it is no Kafka", "set LIVETWIN_KAFKA_PORT")
    return note("broker", "the embedded one does not run", f"`livetwin up` starts it on {bootstrap}; then look again")


async def _all(bootstrap: str, topics: Topics) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.append(await _version(bootstrap))
        missing = await missing_topics(bootstrap, topics)
        found += [_missing(topics, missing)] if missing else _mismatches(topics, await differing_topics(bootstrap, topics))
        if not missing:
            found += await look_at_recovery(bootstrap, topics)
            found.append(await look_at_weights(bootstrap, topics, weight_sources()))
            found.append(await _feeders_clocks(bootstrap, topics))
            found.append(await _roles(bootstrap, topics))
    except (KafkaError, OSError, TimeoutError) as error:
        found.append(fault("broker", f"{bootstrap} answered {error!r}", "read the broker's log; then look again"))
    return found


async def _version(bootstrap: str) -> Finding:
    """A broker does not tell its release; what it can speak tells whether livetwin can use it."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        brokers = [broker.nodeId for broker in client.cluster.brokers()]
        answer = await client.send(brokers[0], ApiVersionRequest())
    finally:
        await client.close()
    spoken = {key: (least, most) for key, least, most in answer.api_versions}
    lacking = [f"{name} v{wanted}" for key, (name, wanted) in _NEEDED.items() if spoken.get(key, (0, -1))[1] < wanted]
    if lacking:
        found = f"{bootstrap} does not speak {', '.join(lacking)}"
        return fault("broker", found, "use Apache Kafka 2.1 or newer (tried: 4), or a broker that speaks its protocol")
    kind = "as Kafka 4" if spoken[1][0] >= 4 else "as a Kafka before 4, which is not tried"
    return ok("broker", f"{bootstrap} answers, {len(brokers)} broker{'s' * (len(brokers) != 1)}, speaks {kind}")


def _missing(topics: Topics, missing: list[str]) -> Finding:
    return note("topics", f"{', '.join(missing)}: not there", "`livetwin topics` creates them")


def _mismatches(topics: Topics, mismatches: list[TopicMismatch]) -> list[Finding]:
    found = []
    for one in mismatches:
        said = f"{one.topic}: {one.setting} is {one.found}, expected {one.expected}"
        if one.setting == "partitions":
            way_out = "its records meet the wrong owner: delete it while nothing runs, then `livetwin topics`"
        else:
            way_out = (
                f"kafka-configs.sh --alter --topic {one.topic} --add-config {one.setting}=[{one.expected}], or keep it if meant"
            )
        found.append((fault if one.setting in _STATE else note)("topics", said, way_out))
    return found or [ok("topics", f"all of {topics.prefix}* are as they should be")]


async def _roles(bootstrap: str, topics: Topics) -> Finding:
    async with LagProbe(bootstrap, topics) as probe:
        roles = await probe.ask()
    told = ", ".join(f"{role.role} ×{role.members} {role.behind} behind" for role in roles)
    idle = [role.role for role in roles if role.members == 0 and role.behind > 0]
    slow = [role.role for role in roles if role.members != 0 and role.behind > _MUCH_LAG]
    if idle:
        return note("roles", f"nobody is at work on what waits for {', '.join(idle)} ({told})", f"start it: `livetwin {idle[0]}`")
    if slow:
        return note("roles", f"{', '.join(slow)} far behind ({told})", "wait, or start another process of the role")
    return ok("roles", told)


async def _feeders_clocks(bootstrap: str, topics: Topics) -> Finding:
    """The newest records' timestamps against this machine's clock: readings are judged against those."""
    reader = clients.consumer(bootstrap, topics.telemetry, client_id="livetwin-doctor")
    try:
        await reader.start()
        ends = await reader.end_offsets(reader.assignment())
        begins = await reader.beginning_offsets(reader.assignment())
        held = [place for place, end in ends.items() if end > begins[place]]
        for place in ends:
            reader.seek(place, max(begins[place], ends[place] - 1))
        newest: dict[TopicPartition, int] = {}
        async for records in read_up_to(reader, {place: ends[place] for place in held}):
            newest.update({TopicPartition(record.topic, record.partition): record.timestamp for record in records})
    finally:
        await reader.stop()
    if not newest:
        return ok("clocks", "no telemetry yet: feeders' clocks are not known")
    ahead_s = max(newest.values()) / 1000 - time.time()
    if ahead_s > _AHEAD_S:
        return fault(
            "clocks",
            f"the newest record of telemetry is stamped {ahead_s:.0f} s ahead of this machine's clock",
            "set the clocks of feeders and of this machine by NTP: readings are refused by how far they are ahead of that stamp",
        )
    hours = -ahead_s * 1000 / HOUR_MS
    return ok("clocks", f"newest telemetry {'now' if hours < 1 / 60 else f'{hours:.1f} h ago'}, none from the future")
