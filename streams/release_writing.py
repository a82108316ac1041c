"""What every release comes down to: records on `models`, acknowledged and read back, and files that nobody names any more.

In:   versions and what was decided about them.
Out:  `ModelVersion`, `ModelAlias`, `Refusal` records; a write is done when the broker has it and the view too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

from models.port import VersionRefused
from models.weights import WeightFiles
from streams.model_records import ModelAlias, ModelCommand, ModelVersion, Refusal, Serving, models_key
from streams.models_topic import ModelsView, ModelView
from streams.release_choices import before, named, with_outcome
from streams.topics import Topics

log = logging.getLogger(__name__)

KEEP_FILES = 30  # newest weight files of a model, besides those that are named by an alias or serve a stretch of the log
KEEP_VERSIONS = 200  # newest version records of a model


class ReleaseWriting:
    """Base of `Releases`. `view` is followed from the topic by somebody else."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topics: Topics,
        view: ModelsView,
        files: WeightFiles,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._producer, self._topic, self._view, self._files, self._now_ns = producer, topics.models, view, files, now_ns
        self._deciding = asyncio.Lock()  # one decision at a time

    async def write(self, record: ModelVersion | ModelAlias | ModelCommand | Serving | Refusal) -> None:
        """Send one record; return when the broker has it and the view too."""
        await self._send(models_key(record), record.to_bytes())

    async def _send(self, key: bytes, value: bytes | None) -> None:
        sent = await self._producer.send_and_wait(self._topic, key=key, value=value)
        await self._view.reached(sent.offset)

    async def _point(self, version: ModelVersion, *, why: str, command_id: str | None = None) -> None:
        """Make a version champion; the one before becomes `previous`, unless it was rolled back just now."""
        model = self._view.models[version.name]
        old = model.alias
        if old is not None and old.champion == version.version:
            alias = old.model_copy(update={"command_id": command_id, "why": why})
        else:
            known = model.champion
            if known is not None and known.decision == "rolled-back":
                earlier = before(model, earlier_than=version)
                previous = earlier.version if earlier else None
            else:
                previous = old.champion if old else None
                if old is not None:
                    await self._close(model, old.champion, "retired", f"replaced by {version.version}")
            await self._drop_challenger(model, f"champion became {version.version} meanwhile", unless=version.version)
            alias = ModelAlias(
                name=version.name,
                type=version.type,
                champion=version.version,
                champion_sha256=version.sha256,
                champion_uri=version.uri,
                since_ns=self._now_ns(),
                previous=previous,
                why=why,
                command_id=command_id,
            )
        if version.decision != "champion":
            await self.write(version.model_copy(update={"decision": "champion", "why": with_outcome(version.why, why)}))
        await self.write(alias)

    async def _drop_challenger(self, model: ModelView, why: str, *, unless: str | None = None) -> None:
        """A challenger that is compared with what no longer serves, or that another follows, is judged no further."""
        challenger = model.challenger
        if challenger is not None and challenger.version != unless:
            await self._close(
                model,
                challenger.version,
                "refused",
                f"left {'the shadow' if model.alias is None or model.alias.canary is None else 'its canary twins'}: {why}",
            )

    async def _close(self, model: ModelView, version: str, decision: str, what: str) -> None:
        """Note what became of a version that was champion; why it was made champion stays."""
        known = model.versions.get(version)
        if known is not None:
            await self.write(
                ModelVersion.model_validate({**known.model_dump(), "decision": decision, "why": with_outcome(known.why, what)})
            )

    async def _go_back(self, model: ModelView, earlier: ModelVersion, reason: str) -> bool:
        """From the champion to an earlier version; whether that could be done."""
        assert model.alias is not None
        try:
            self._files.verify(earlier.uri, earlier.sha256)
        except VersionRefused as unusable:
            log.error("roll-back-impossible", extra={"model": model.name, "version": earlier.version, "found": str(unusable)})
            return False
        gone = model.alias.champion
        await self._close(model, gone, "rolled-back", reason)
        await self._point(earlier, why=f"{gone} was {reason}")
        return True

    async def _refuse(self, command: ModelCommand, model: ModelView, reason: str) -> None:
        serving = model.alias.champion if model.alias else None
        version = command.version or (model.alias.previous if model.alias else None) or "none"
        reason = f"{command.action} by {command.by} refused: {reason}"
        log.error("command-refused", extra={"model": command.name, "version": version, "found": reason})
        answer = Refusal(name=command.name, version=version, serving=serving, reason=reason, time_ns=self._now_ns())
        await self.write(answer.model_copy(update={"command_id": command.command_id}))

    async def _clear_out(self, name: str) -> None:
        """Drop files and records of old versions that nobody names any more; a challenger that nobody names is none."""
        model = self._view.models[name]
        for version in model.history():
            if version.decision == "challenger" and (model.alias is None or model.alias.challenger != version.version):
                await self._close(model, version.version, "refused", "left the shadow: the trainer ended before it had begun")
        kept = named(self._view)
        gone = self._files.prune(name, keep=KEEP_FILES, protect=kept)
        old = [version for version in model.history()[KEEP_VERSIONS:] if version.version not in kept]
        for version in old:
            await self._send(models_key(version), None)
        if gone or old:
            log.info("versions-cleared", extra={"model": name, "files": len(gone), "records": len(old)})
