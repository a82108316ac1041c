"""The `models` topic as a view: which version is to serve, which serves where, what was decided and why.

In:   records of `models` in log order (`ModelVersion`, `ModelAlias`, `ModelCommand`, `Serving`, `Refusal`).
Out:  `ModelsView`, the same for processor, trainer and gateway; each fold says what changed.
The fold is pure: no clock, no I/O, and any compacted remainder of the log gives the same view.
A record that can't be read is skipped, logged and counted by reason; it never raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import TypeAdapter, ValidationError

from streams import clients
from streams.model_records import ModelAlias, ModelCommand, ModelsRecord, ModelVersion, Refusal, Serving, models_key
from streams.topics import Topics

log = logging.getLogger(__name__)

_RECORD: Final[TypeAdapter[ModelVersion | ModelAlias | ModelCommand | Serving | Refusal]] = TypeAdapter(ModelsRecord)

Kind = Literal["version", "alias", "command", "serving", "refusal"]


@dataclass(frozen=True, slots=True)
class Change:
    """One record that changed the view. `record` None: its key was removed (tombstone)."""

    kind: Kind
    name: str
    record: ModelVersion | ModelAlias | ModelCommand | Serving | Refusal | None


@dataclass(slots=True)
class ModelView:
    """All that is known of one model name."""

    name: str
    alias: ModelAlias | None = None
    versions: dict[str, ModelVersion] = field(default_factory=dict)
    serving: dict[int, Serving] = field(default_factory=dict)  # partition → the highest epoch's record
    refusals: dict[str, Refusal] = field(default_factory=dict)  # version → why a processor or the trainer refused it
    commands: dict[str, ModelCommand] = field(default_factory=dict)  # those not carried out yet; see `pending`

    @property
    def type(self) -> str | None:
        """DTMI of the twin type, once an alias or a version told it."""
        if self.alias is not None:
            return self.alias.type
        return next((version.type for version in self.versions.values()), None)

    @property
    def champion(self) -> ModelVersion | None:
        """The version that the alias names, with its figures."""
        return self.versions.get(self.alias.champion) if self.alias is not None else None

    @property
    def previous(self) -> ModelVersion | None:
        return self.versions.get(self.alias.previous) if self.alias is not None and self.alias.previous else None

    @property
    def challenger(self) -> ModelVersion | None:
        return self.versions.get(self.alias.challenger) if self.alias is not None and self.alias.challenger else None

    def history(self) -> list[ModelVersion]:
        """Versions with their latest decision, newest first."""
        return sorted(self.versions.values(), key=lambda version: (version.time_ns, version.version), reverse=True)

    def pending(self) -> list[ModelCommand]:
        """Commands nobody has carried out yet, oldest first. One that the alias already answers is not pending."""
        answered = self.alias.command_id if self.alias is not None else None
        waiting = [command for command in self.commands.values() if command.command_id != answered]
        return sorted(waiting, key=lambda command: (command.time_ns, command.command_id))


class ModelsView:
    """Fold of the topic. Not safe across threads; one event loop owns it."""

    def __init__(self) -> None:
        self.models: dict[str, ModelView] = {}
        self.unreadable: Counter[str] = Counter()  # reason → records skipped
        self.next_offset = 0  # of the topic's one partition, moved by `follow`
        self._moved = asyncio.Condition()

    async def reached(self, offset: int) -> None:
        """Wait until the record at `offset` has been folded: who writes and then reads the view sees its own write."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.next_offset > offset)

    async def move_to(self, next_offset: int) -> None:
        """Everything below `next_offset` has been folded."""
        async with self._moved:
            self.next_offset = next_offset
            self._moved.notify_all()

    def get(self, name: str) -> ModelView | None:
        return self.models.get(name)

    def alias(self, name: str) -> ModelAlias | None:
        """Which version of `name` is to serve; None before the first one was promoted."""
        model = self.models.get(name)
        return model.alias if model is not None else None

    def serving(self, name: str, partition: int) -> Serving | None:
        """Which version scores which stretch of a partition, by its newest owner."""
        model = self.models.get(name)
        return model.serving.get(partition) if model is not None else None

    def pending(self) -> list[ModelCommand]:
        """Commands of all models that nobody has carried out yet, oldest first."""
        waiting = [command for model in self.models.values() for command in model.pending()]
        return sorted(waiting, key=lambda command: (command.time_ns, command.command_id))

    def apply(self, key: bytes | None, value: bytes | None) -> Change | None:
        """Fold one record of the topic; None when it changes nothing (seen before, an older epoch, unreadable)."""
        if key is None:
            self._skip("no-key", key, "the record has no key, expected <name>/<kind>/…")
            return None
        if value is None:
            return self._remove(key)
        try:
            record = _RECORD.validate_json(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            self._skip("malformed", key, f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}")
            return None
        if models_key(record) != key:
            self._skip("key-mismatch", key, f"the value belongs under the key {models_key(record)!r}")
            return None
        return Change(record.kind, record.name, record) if self._put(record) else None

    def _put(self, record: ModelVersion | ModelAlias | ModelCommand | Serving | Refusal) -> bool:
        model = self.models.setdefault(record.name, ModelView(record.name))
        match record:
            case ModelVersion():
                changed = model.versions.get(record.version) != record
                model.versions[record.version] = record
            case ModelAlias():
                changed = model.alias != record
                model.alias = record
            case ModelCommand():
                changed = model.commands.get(record.command_id) != record
                model.commands[record.command_id] = record
            case Serving():
                known = model.serving.get(record.partition)
                changed = known is None or (record.epoch >= known.epoch and record != known)
                if changed:
                    model.serving[record.partition] = record
            case Refusal():
                changed = model.refusals.get(record.version) != record
                model.refusals[record.version] = record
        return changed

    def _remove(self, key: bytes) -> Change | None:
        name, _, rest = key.decode("utf-8", "replace").partition("/")
        model = self.models.get(name)
        match rest.split("/"):
            case ["version", version] if model and model.versions.pop(version, None):
                return Change("version", name, None)
            case ["alias"] if model and model.alias:
                model.alias = None
                return Change("alias", name, None)
            case ["command", command_id] if model and model.commands.pop(command_id, None):
                return Change("command", name, None)
            case ["serving", partition, epoch] if model and partition.isdecimal():
                known = model.serving.get(int(partition))
                if known is not None and str(known.epoch) == epoch:
                    del model.serving[int(partition)]
                    return Change("serving", name, None)
            case ["refusal", version] if model and model.refusals.pop(version, None):
                return Change("refusal", name, None)
        return None

    def _skip(self, reason: str, key: bytes | None, message: str) -> None:
        self.unreadable[reason] += 1
        log.warning("models-record-skipped", extra={"reason": reason, "key": repr(key), "found": message})


async def read_models(bootstrap: str, topics: Topics) -> ModelsView:
    """The view as of now: the topic from its beginning to its current end."""
    view = ModelsView()
    for record in await clients.read_to_end(bootstrap, topics.models):
        view.apply(record.key, record.value)
    return view


async def follow(
    bootstrap: str,
    topics: Topics,
    view: ModelsView,
    *,
    caught_up: asyncio.Event,
    stop: asyncio.Event,
    on_change: Callable[[Change], None] | None = None,
) -> None:
    """Fold the topic into `view` from its beginning, set `caught_up` at the end it had at the start, then go on until `stop`.

    Group-less: every follower sees every record. `on_change` is called in log order, also while catching up.
    """
    consumer = clients.consumer(bootstrap, topics.models, client_id="livetwin-models")
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = {}
        while not stop.is_set():
            if not caught_up.is_set():
                ends = ends or dict(await consumer.end_offsets(consumer.assignment()))
                if ends and await _reached(consumer, ends):
                    caught_up.set()
            for records in (await clients.next_records(consumer, stop, timeout_ms=200)).values():
                for record in records:
                    change = view.apply(record.key, record.value)
                    if change is not None and on_change is not None:
                        on_change(change)
                if records:
                    await view.move_to(records[-1].offset + 1)
    finally:
        await consumer.stop()


async def _reached(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    """Positions, not records seen: compaction and transaction markers leave offsets nobody gets."""
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])
