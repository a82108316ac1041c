"""Releases: which version is to serve. The only writer of `ModelAlias`, and of what was decided about each version.

In:   updates from training, commands from people, refusals from processors.
Out:  `ModelVersion`, `ModelAlias` and `Refusal` records on `models`, acknowledged by the broker before anything goes on.
A command is carried out once: the alias carries its id, then its record is removed. A crash between the two repeats nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable

from aiokafka import AIOKafkaProducer

from models.port import VersionRefused
from models.update import Update, UpdateFailed
from models.weights import WeightFiles, version_number
from streams.model_records import ModelAlias, ModelCommand, ModelVersion, Refusal, Serving, models_key
from streams.models_topic import ModelsView, ModelView
from streams.topics import Topics
from twin.type_revisions import sharing_weights
from twin.types import TwinType

log = logging.getLogger(__name__)

KEEP_FILES = 30  # newest weight files of a model, besides those that are named by an alias or serve a stretch of the log
KEEP_VERSIONS = 200  # newest version records of a model
_AND = " · "  # between why a version was made champion and what became of it


class Releases:
    """Decisions on all models, one at a time. `view` is followed from the topic: a write is done when it was read back there."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topics: Topics,
        view: ModelsView,
        files: WeightFiles,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._producer, self._topic, self._view, self._files, self._now_ns = producer, topics.models, view, files, now_ns
        self._deciding = asyncio.Lock()

    # ── from training ───────────────────────────────────────────────────────────────────────────────────────────────

    def next_number(self, name: str) -> int:
        """Running number of the next version: after all that were announced and all whose file is there."""
        model = self._view.get(name)
        known = [*(model.versions if model else ()), *self._files.versions(name)]
        return max((version_number(version) for version in known), default=0) + 1

    async def publish(self, type: TwinType, update: Update, *, compared_with: str | None) -> bool:
        """Announce a trained version and, if the gate says so, make it champion; whether it was made champion."""
        async with self._deciding:
            alias = self._view.alias(type.slug)
            champion = alias.champion if alias else None
            promote, why = update.promote, update.why
            if promote and compared_with is not None and champion != compared_with:
                promote, why = False, f"champion became {champion} while this was compared with {compared_with}; {why}"
            version = ModelVersion(
                name=type.slug,
                type=type.id,
                version=update.version,
                uri=update.uri,
                sha256=update.sha256,
                contract=update.contract,
                base=update.base,
                decision="champion" if promote else "refused",
                why=why,
                time_ns=self._now_ns(),
                figures=update.figures,
                trigger=update.trigger or None,
            )
            await self.write(version)
            if promote:
                await self._point(version, why=why)
            await self._clear_out(type.slug)
        log.info(
            "version-decided", extra={"model": type.slug, "version": update.version, "decision": version.decision, "why": why}
        )
        return promote

    async def share(self, type: TwinType, types: Iterable[TwinType]) -> bool:
        """A revision without a champion gets that of the nearest one whose weights it shares; whether it got one."""
        async with self._deciding:
            if self._view.alias(type.slug) is not None:
                return False
            served = (self._view.get(one.slug) for one in sharing_weights(type, types))
            champion = next((one.champion for one in served if one is not None and one.champion is not None), None)
            if champion is None or champion.contract != type.contract:
                return False
            why = f"serves {champion.type} already, which has the same channels, units and period"
            version = champion.model_copy(
                update={"name": type.slug, "type": type.id, "why": why, "time_ns": self._now_ns(), "run_id": None}
            )
            await self.write(version)
            await self._point(version, why=why)
        log.info("version-shared", extra={"model": type.slug, "version": version.version, "of": champion.name})
        return True

    async def publish_failure(self, type: TwinType, failed: UpdateFailed) -> None:
        """Announce that a round gave no version, and why."""
        async with self._deciding:
            number = self.next_number(type.slug)
            alias = self._view.alias(type.slug)
            version = ModelVersion(
                name=type.slug,
                type=type.id,
                version=f"{number:04d}-failed",
                uri="",
                sha256="",
                contract=type.contract,
                base=alias.champion if alias else None,
                decision="refused",
                why=failed.why,
                time_ns=self._now_ns(),
                trigger=failed.trigger or None,
            )
            await self.write(version)
        log.warning(
            "version-decided", extra={"model": type.slug, "version": version.version, "decision": "refused", "why": failed.why}
        )

    # ── from people ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def carry_out(self, command: ModelCommand) -> None:
        """Promote or roll back by hand. What can't be done is answered with a `Refusal`; either way the command is done."""
        async with self._deciding:
            model = self._view.get(command.name) or ModelView(command.name)
            try:
                version = _wanted(model, command)
                self._files.verify(version.uri, version.sha256)
            except VersionRefused as refusal:
                await self._refuse(command, model, f"{refusal.reason}: {refusal}")
            else:
                word = "promoted" if command.action == "promote" else "rolled back to"
                if command.action == "rollback" and model.alias is not None:
                    await self._close(model, model.alias.champion, "rolled-back", f"rolled back by {command.by}")
                await self._point(version, why=f"{word} by {command.by}", command_id=command.command_id)
                log.info("command-done", extra={"model": command.name, "action": command.action, "version": version.version})
        await self.done(command)

    async def done(self, command: ModelCommand) -> None:
        """Remove a command that was carried out, or that is out of date."""
        await self._send(models_key(command), None)

    async def refuse(self, command: ModelCommand, reason: str) -> None:
        """Answer a command that can't be carried out."""
        async with self._deciding:
            await self._refuse(command, self._view.get(command.name) or ModelView(command.name), reason)
        await self.done(command)

    # ── from processors ─────────────────────────────────────────────────────────────────────────────────────────────

    async def undo_refused(self, name: str) -> None:
        """Point the alias back to the version before when a processor could not serve the champion."""
        async with self._deciding:
            model = self._view.get(name)
            if model is None or model.alias is None:
                return
            refused = model.alias.champion
            refusal = model.refusals.get(refused)
            before = _before(model)
            if refusal is None or refusal.time_ns < model.alias.since_ns or before is None:
                return
            alias = model.alias
            if refusal.reason.startswith("missing:") and self._files.hold(alias.champion_uri, alias.champion_sha256):
                return  # the processor's machine does not see them: the version is not at fault
            try:
                self._files.verify(before.uri, before.sha256)
            except VersionRefused as unusable:
                log.error("roll-back-impossible", extra={"model": name, "version": before.version, "found": str(unusable)})
                return
            await self._close(model, refused, "rolled-back", f"refused by a processor: {refusal.reason}")
            await self._point(before, why=f"{refused} was refused by a processor: {refusal.reason}")
        log.warning("rolled-back", extra={"model": name, "refused": refused, "version": before.version, "why": refusal.reason})

    # ── from the registry ───────────────────────────────────────────────────────────────────────────────────────────

    async def set_run(self, name: str, version: str, run_id: str) -> None:
        """Note under which run a version was recorded."""
        async with self._deciding:
            model = self._view.get(name)
            known = model.versions.get(version) if model else None
            if known is not None and known.run_id != run_id:
                await self.write(known.model_copy(update={"run_id": run_id}))

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

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
                before = _before(model, earlier_than=version)
                previous = before.version if before else None
            else:
                previous = old.champion if old else None
                if old is not None:
                    await self._close(model, old.champion, "retired", f"replaced by {version.version}")
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
            await self.write(version.model_copy(update={"decision": "champion", "why": _with(version.why, why)}))
        await self.write(alias)

    async def _close(self, model: ModelView, version: str, decision: str, what: str) -> None:
        """Note what became of a version that was champion; why it was made champion stays."""
        known = model.versions.get(version)
        if known is not None:
            await self.write(
                ModelVersion.model_validate({**known.model_dump(), "decision": decision, "why": _with(known.why, what)})
            )

    async def _refuse(self, command: ModelCommand, model: ModelView, reason: str) -> None:
        serving = model.alias.champion if model.alias else None
        version = command.version or (model.alias.previous if model.alias else None) or "none"
        reason = f"{command.action} by {command.by} refused: {reason}"
        log.error("command-refused", extra={"model": command.name, "version": version, "found": reason})
        await self.write(Refusal(name=command.name, version=version, serving=serving, reason=reason, time_ns=self._now_ns()))

    async def _clear_out(self, name: str) -> None:
        """Drop files and records of old versions that nobody names any more."""
        model = self._view.models[name]
        named = _named(self._view)
        gone = self._files.prune(name, keep=KEEP_FILES, protect=named)
        old = [version for version in model.history()[KEEP_VERSIONS:] if version.version not in named]
        for version in old:
            await self._send(models_key(version), None)
        if gone or old:
            log.info("versions-cleared", extra={"model": name, "files": len(gone), "records": len(old)})


def _wanted(model: ModelView, command: ModelCommand) -> ModelVersion:
    """The version a command asks for. Raises VersionRefused when there is none such."""
    wanted = command.version
    if command.action == "rollback" and wanted is None:
        before = _before(model)
        wanted = before.version if before else None
        if wanted is None:
            raise VersionRefused("missing", f"{model.name} has no version before the one that serves; nothing was changed")
    found = model.versions.get(wanted or "")
    if found is None or not found.uri:
        known = ", ".join(version.version for version in model.history()[:5] if version.uri) or "none"
        raise VersionRefused(
            "missing", f"{model.name} has no version {wanted!r} with weights, newest: {known}; nothing was changed"
        )
    return found


def _before(model: ModelView, *, earlier_than: ModelVersion | None = None) -> ModelVersion | None:
    """The version to go back to: the alias' previous, else the newest that has served and was not rolled back."""
    if earlier_than is None and model.previous is not None and model.previous.decision != "rolled-back":
        return model.previous
    champion = model.alias.champion if model.alias else None
    served = [one for one in model.history() if one.decision in ("champion", "retired") and one.version != champion]
    return next((one for one in served if earlier_than is None or one.time_ns < earlier_than.time_ns), None)


def _named(view: ModelsView) -> Collection[str]:
    """Versions that must stay: the aliases', and those that a processor needs to fold a stretch of the log again.

    Of all models, as a revision of a type may serve another's file.
    """
    named: set[str] = set()
    for model in view.models.values():
        named |= {switch.version for serving in model.serving.values() for switch in serving.switches}
        if model.alias is not None:
            named |= {version for version in (model.alias.champion, model.alias.previous, model.alias.challenger) if version}
    return named


def _with(why: str, what: str) -> str:
    return f"{why.split(_AND)[0]}{_AND}{what}"
