"""Releases: which version is to serve. The only writer of `ModelAlias`, and of what was decided about each version.

In:   updates from training, verdicts on live steps, commands from people, refusals from processors.
Out:  `ModelVersion`, `ModelAlias` and `Refusal` records on `models`, acknowledged by the broker before anything goes on.
A command is carried out once: the alias carries its id, then its record is removed. A crash between the two repeats nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from models.port import VersionRefused
from models.update import Update, UpdateFailed
from models.weights import version_number
from streams.model_records import Canary, GateStage, ModelCommand, ModelVersion, models_key
from streams.models_topic import ModelView
from streams.release_choices import before, rolled_back_twin, wanted, with_outcome, with_stage
from streams.release_writing import ReleaseWriting
from twin.type_revisions import sharing_weights
from twin.types import TwinType

log = logging.getLogger(__name__)


class Releases(ReleaseWriting):
    """Decisions on all models, one at a time. `view` is followed from the topic: a write is done when it was read back there."""

    # ── from training ───────────────────────────────────────────────────────────────────────────────────────────────

    def next_number(self, name: str) -> int:
        """Running number of the next version: after all that were announced and all whose file is there."""
        model = self._view.get(name)
        known = [*(model.versions if model else ()), *self._files.versions(name)]
        return max((version_number(version) for version in known), default=0) + 1

    async def publish(self, type: TwinType, update: Update, *, compared_with: str | None, shadow: bool = False) -> bool:
        """Announce a trained version and, if the gate says so, make it champion; whether it was made champion.

        `shadow`: it becomes challenger instead, where there is a champion to stand beside.
        """
        async with self._deciding:
            alias = self._view.alias(type.slug)
            champion = alias.champion if alias else None
            promote, why = update.promote, update.why
            if promote and compared_with is not None and champion != compared_with:
                promote, why = False, f"champion became {champion} while this was compared with {compared_with}; {why}"
            same = rolled_back_twin(self._view.get(type.slug), update.version)
            if promote and same is not None:
                promote, why = False, f"refused: the same as {same}, which was rolled back; {why}"
            shadow = shadow and promote and alias is not None
            version = ModelVersion(
                name=type.slug,
                type=type.id,
                version=update.version,
                uri=update.uri,
                sha256=update.sha256,
                contract=update.contract,
                base=update.base,
                decision="challenger" if shadow else "champion" if promote else "refused",
                why=why,
                time_ns=self._now_ns(),
                figures=update.figures,
                trigger=update.trigger or None,
                stages=[GateStage(name=stage.name, passed=stage.passed, why=stage.why) for stage in update.stages],
                judged_to_ns=update.judged_to_ns,
                anchors=list(update.anchors),
                origin=update.origin,
                faults=update.faults,
                compute=update.compute,
            )
            await self.write(version)
            if shadow and alias is not None:
                await self._drop_challenger(self._view.models[type.slug], f"{version.version} took its place")
                await self.write(alias.model_copy(update={"challenger": version.version, "canary": None}))
            elif promote:
                await self._point(version, why=why)
            await self._clear_out(type.slug)
        log.info(
            "version-decided", extra={"model": type.slug, "version": update.version, "decision": version.decision, "why": why}
        )
        return promote and not shadow

    async def begin_canary(self, name: str, challenger: str, stage: GateStage, figures: dict[str, float], share: float) -> bool:
        """A challenger that has passed `stage`, the shadow, is tried on a share of the twins; whether it now is."""
        async with self._deciding:
            model = self._view.get(name)
            version = model.versions.get(challenger) if model else None
            if model is None or model.alias is None or version is None or model.alias.challenger != challenger:
                return False  # a person has decided meanwhile
            why = with_outcome(version.why, f"no worse in the shadow: {stage.why}; serves {share:.0%} of the twins")
            judged = {"stages": with_stage(version, stage), "figures": {**version.figures, **figures}, "why": why}
            await self.write(version.model_copy(update=judged))
            canary = Canary(version=version.version, sha256=version.sha256, uri=version.uri, share=share, since_ns=self._now_ns())
            await self.write(model.alias.model_copy(update={"canary": canary}))
        log.info("canary-begins", extra={"model": name, "version": challenger, "share": share, "why": stage.why})
        return True

    async def conclude(self, name: str, challenger: str, stage: GateStage, figures: dict[str, float]) -> bool:
        """What came of a challenger in the shadow or on canary twins: champion, or refused; whether it was made champion."""
        async with self._deciding:
            model = self._view.get(name)
            version = model.versions.get(challenger) if model else None
            if model is None or model.alias is None or version is None or model.alias.challenger != challenger:
                return False  # a person has decided meanwhile
            version = version.model_copy(update={"stages": with_stage(version, stage), "figures": {**version.figures, **figures}})
            where = "in the shadow" if model.alias.canary is None else "on canary twins"
            if stage.passed:
                await self._point(version, why=f"no worse {where}: {stage.why}")
            else:
                refused = {"decision": "refused", "why": f"refused {where}: {stage.why}"}
                await self.write(ModelVersion.model_validate({**version.model_dump(), **refused}))
                await self.write(model.alias.model_copy(update={"challenger": None, "canary": None}))
            await self._clear_out(name)
        decision = "champion" if stage.passed else "refused"
        log.info("version-decided", extra={"model": name, "version": challenger, "decision": decision, "why": stage.why})
        return stage.passed

    async def roll_back(self, name: str, champion: str, stage: GateStage) -> bool:
        """Back to the version before, as the champion did worse on live steps; whether that was done."""
        async with self._deciding:
            model = self._view.get(name)
            if model is None or model.alias is None or model.alias.champion != champion:
                return False
            known, earlier = model.versions.get(champion), before(model)
            if known is None or earlier is None:
                return False
            await self.write(known.model_copy(update={"stages": with_stage(known, stage)}))
            done = await self._go_back(model, earlier, f"rolled back: {stage.why}")
        if done:
            log.warning("rolled-back", extra={"model": name, "refused": champion, "version": earlier.version, "why": stage.why})
        return done

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
                compute=failed.compute,
            )
            await self.write(version)
        told = {"model": type.slug, "version": version.version, "decision": "refused", "why": failed.why}
        log.warning("version-decided", extra=told)

    # ── from people ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def carry_out(self, command: ModelCommand) -> None:
        """Promote or roll back by hand. What can't be done is answered with a `Refusal`; either way the command is done."""
        async with self._deciding:
            model = self._view.get(command.name) or ModelView(command.name)
            try:
                version = wanted(model, command)
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
        """Point the alias back to the version before when a processor could not serve the champion; withdraw such a canary."""
        await self._withdraw_refused(name)
        async with self._deciding:
            model = self._view.get(name)
            if model is None or model.alias is None:
                return
            refused = model.alias.champion
            refusal = model.refusals.get(refused)
            earlier = before(model)
            if refusal is None or refusal.time_ns < model.alias.since_ns or earlier is None:
                return
            alias = model.alias
            if refusal.reason.startswith("missing:") and self._files.hold(alias.champion_uri, alias.champion_sha256):
                return  # the processor's machine does not see them: the version is not at fault
            if await self._go_back(model, earlier, f"refused by a processor: {refusal.reason}"):
                log.warning("rolled-back", extra={"model": name, "refused": refused, "why": refusal.reason})

    async def _withdraw_refused(self, name: str) -> None:
        model = self._view.get(name)
        canary = model.alias.canary if model is not None and model.alias is not None else None
        refusal = model.refusals.get(canary.version) if model is not None and canary is not None else None
        if canary is None or refusal is None or refusal.time_ns < canary.since_ns:
            return
        if refusal.reason.startswith("missing:") and self._files.hold(canary.uri, canary.sha256):
            return  # the processor's machine does not see them: the version is not at fault
        stage = GateStage(name="canary", passed=False, why=f"refused by a processor: {refusal.reason}")
        await self.conclude(name, canary.version, stage, {})

    # ── from the registry ───────────────────────────────────────────────────────────────────────────────────────────

    async def set_run(self, name: str, version: str, run_id: str) -> None:
        """Note under which run a version was recorded."""
        async with self._deciding:
            model = self._view.get(name)
            known = model.versions.get(version) if model else None
            if known is not None and known.run_id != run_id:
                await self.write(known.model_copy(update={"run_id": run_id}))
