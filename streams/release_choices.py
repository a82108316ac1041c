"""Which versions a release may go to: what a command asks for, what to go back to, what must stay.

In:   views of `models`.
Out:  versions. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Collection

from models.port import VersionRefused
from models.update import Weights
from streams.model_records import GateStage, ModelAlias, ModelCommand, ModelVersion
from streams.models_topic import ModelsView, ModelView

EARLIER = 4  # champions before the one that serves that a candidate is compared with
_AND = " · "  # between why a version was made champion and what became of it


def wanted(model: ModelView, command: ModelCommand) -> ModelVersion:
    """The version a command asks for. Raises VersionRefused when there is none such."""
    wanted = command.version
    if command.action == "rollback" and wanted is None:
        earlier = before(model)
        wanted = earlier.version if earlier else None
        if wanted is None:
            raise VersionRefused("missing", f"{model.name} has no version before the one that serves; nothing was changed")
    found = model.versions.get(wanted or "")
    if found is None or not found.uri:
        known = ", ".join(version.version for version in model.history()[:5] if version.uri) or "none"
        raise VersionRefused(
            "missing", f"{model.name} has no version {wanted!r} with weights, newest: {known}; nothing was changed"
        )
    return found


def before(model: ModelView, *, earlier_than: ModelVersion | None = None) -> ModelVersion | None:
    """The version to go back to: the alias' previous, else the newest that has served and was not rolled back."""
    if earlier_than is None and model.previous is not None and model.previous.decision != "rolled-back":
        return model.previous
    champion = model.alias.champion if model.alias else None
    served = [one for one in model.history() if one.decision in ("champion", "retired") and one.version != champion]
    return next((one for one in served if earlier_than is None or one.time_ns < earlier_than.time_ns), None)


def champion_weights(alias: ModelAlias) -> Weights:
    """The weights that serve."""
    return Weights(alias.champion, alias.champion_uri, alias.champion_sha256)


def earlier_champions(model: ModelView | None) -> tuple[Weights, ...]:
    """Champions before the one that serves, the oldest first: those that were the best when it was judged, and the last ones."""
    champion = model.champion if model is not None else None
    if model is None or champion is None:
        return ()
    served = [one for one in model.history() if one.decision == "retired" and one.uri and one.contract == champion.contract]
    served = [one for one in served if one.version != champion.version]
    chosen = sorted(served, key=lambda one: one.version not in champion.anchors)[:EARLIER]
    return tuple(Weights(one.version, one.uri, one.sha256) for one in sorted(chosen, key=lambda one: one.time_ns))


def rolled_back_twin(model: ModelView | None, version: str) -> str | None:
    """The version that was rolled back and had the same content: ids end with digits of its hash. None: there was none."""
    content = version.partition("-")[2]
    gone = [one.version for one in model.history() if one.decision == "rolled-back"] if model is not None else []
    return next((one for one in gone if content and one != version and one.partition("-")[2] == content), None)


def named(view: ModelsView) -> Collection[str]:
    """Versions that must stay: the aliases', what these are compared with, those that a processor needs to fold a stretch again.

    Of all models, as a revision of a type may serve another's file.
    """
    named: set[str] = set()
    for model in view.models.values():
        switches = [switch for serving in model.serving.values() for switch in serving.switches]
        named |= {switch.version for switch in switches} | {one.canary.version for one in switches if one.canary is not None}
        if model.alias is not None:
            named |= {version for version in (model.alias.champion, model.alias.previous, model.alias.challenger) if version}
            named |= {anchor for one in (model.champion, model.challenger) if one is not None for anchor in one.anchors}
    return named


def with_stage(version: ModelVersion, stage: GateStage) -> list[GateStage]:
    """Its stages and this one, in place of one of the same name."""
    return [*(one for one in version.stages if one.name != stage.name), stage]


def with_outcome(why: str, what: str) -> str:
    """Why a version was made what it was stays; what became of it is told anew."""
    return f"{why.split(_AND)[0]}{_AND}{what}"
