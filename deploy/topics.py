"""Create the topics that are missing; say where an existing one differs. An existing topic is never changed.

In:   `streams.topics.Topics`, and the number of partitions for telemetry where it is not there yet.
Out:  a `TopicMismatch` for each setting that differs, also logged. Dependent topics get as many partitions as telemetry has,
      so that partition p of an output holds exactly what came from partition p of telemetry.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.topics import Topics, TopicSpec
from twin.errors import LivetwinError

log = logging.getLogger(__name__)

_REPLICAS = 3
_VISIBLE_S = 30.0
_GROUPS_WITHIN_S = 10.0


class TopicsRefused(LivetwinError):
    """The broker did not create or describe a topic."""


@dataclass(frozen=True, slots=True)
class TopicMismatch:
    """One setting of one existing topic that is not as livetwin would have made it."""

    topic: str
    setting: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.expected}; it was left as it is"


async def ensure_topics(bootstrap: str, topics: Topics, partitions: int) -> list[TopicMismatch]:
    """Create what is missing, compare what is there.

    Args:
        bootstrap: HOST:PORT[,HOST:PORT] of the broker.
        partitions: of telemetry and of what is keyed like it, if telemetry does not exist yet.

    Raises:
        TopicsRefused: the broker refused one; those before it were created.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        there = await _partitions(admin)
        created: set[str] = set()
        if topics.telemetry not in there:  # first and alone: the others follow what it got, whoever created it
            created |= await _create(admin, [spec for spec in topics.specs(partitions) if spec.name == topics.telemetry])
            there = await _await_topics(admin, {topics.telemetry})
        specs = topics.specs(there[topics.telemetry])
        created |= await _create(admin, [spec for spec in specs if spec.name not in there])
        there = await _await_topics(admin, {spec.name for spec in specs})
        mismatches = _differences(specs, there, await _configs(admin, specs))
        if created:  # a new broker makes room for groups when it is first asked for one: a second or two
            await _await_groups(admin, topics.prefix)
    except (KafkaError, TimeoutError) as error:
        raise TopicsRefused(f"topics {topics.prefix}*: {bootstrap} answered {error!r}; not all of them exist") from error
    finally:
        await admin.close()
    for spec in specs:
        if spec.name not in created:
            continue
        log.info("topic-created", extra={"topic": spec.name, "partitions": spec.partitions, **spec.config})
    for found in mismatches:
        log.warning(
            "topic-differs",
            extra={"topic": found.topic, "setting": found.setting, "found": found.found, "expected": found.expected},
        )
    return mismatches


async def _await_groups(admin: AIOKafkaAdminClient, prefix: str) -> None:
    """Return once the broker names a group's coordinator, so that no role is told that there is none yet. Best effort."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_GROUPS_WITHIN_S):
            while True:
                try:
                    await admin.find_coordinator(f"{prefix}processor")
                    return
                except KafkaError as error:
                    if not error.retriable:  # not allowed to ask: the role that needs it will say so
                        return
                await asyncio.sleep(0.1)


async def differing_topics(bootstrap: str, topics: Topics) -> list[TopicMismatch]:
    """Where topics are not as livetwin would have made them; all must be there. Nothing is changed. Raises TopicsRefused."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        there = await _partitions(admin)
        specs = topics.specs(there[topics.telemetry])
        return _differences(specs, there, await _configs(admin, specs))
    finally:
        await admin.close()


async def missing_topics(bootstrap: str, topics: Topics) -> list[str]:
    """Names that do not exist on the broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        existing = await _partitions(admin)
    finally:
        await admin.close()
    return [spec.name for spec in topics.specs(1) if spec.name not in existing]


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[TopicSpec]) -> set[str]:
    """Names of those that did not exist; another process may have been faster."""
    if not missing:
        return set()
    brokers = len((await admin.describe_cluster())["brokers"])
    replicas = 1 if brokers == 1 else min(_REPLICAS, brokers)
    answer = await admin.create_topics(
        [NewTopic(spec.name, spec.partitions or 1, replicas, topic_configs=dict(spec.config)) for spec in missing]
    )
    created = set()
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code == 0:
            created.add(name)
        elif error is not TopicAlreadyExistsError:
            said = " ".join(filter(None, message))
            raise TopicsRefused(f"topic {name}: not created, the broker says {error.__name__} {said}".rstrip())
    return created


async def _await_topics(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, int]:
    """Partitions by topic, once all of `names` are known: a broker learns of a new topic a moment after its controller."""
    async with asyncio.timeout(_VISIBLE_S):
        while True:
            there = await _partitions(admin)
            if names <= there.keys():
                return there
            await asyncio.sleep(0.05)


async def _configs(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, spec.name, configs=dict(spec.config)) for spec in specs]
    ):
        for code, message, _kind, name, entries in answer.resources:
            if code:
                said = f"{for_code(code).__name__} {message or ''}".rstrip()
                raise TopicsRefused(f"topic {name}: can't be described, the broker says {said}; nothing was changed")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _differences(
    specs: Sequence[TopicSpec], partitions: Mapping[str, int], configs: Mapping[str, Mapping[str, str]]
) -> list[TopicMismatch]:
    mismatches = []
    for spec in specs:
        if partitions[spec.name] != (spec.partitions or 1):
            mismatches.append(TopicMismatch(spec.name, "partitions", str(partitions[spec.name]), str(spec.partitions)))
        for setting, expected in spec.config.items():
            found = configs[spec.name].get(setting, "unset")
            if _as_set(found) != _as_set(expected):
                mismatches.append(TopicMismatch(spec.name, setting, found, expected))
    return mismatches


def _as_set(value: str) -> frozenset[str]:
    """`compact,delete` and `delete,compact` are the same."""
    return frozenset(value.split(","))
