"""Bring the registry up to date with what `models` says: each version a run, each change of a decision, the aliases.

In:   the view of `models`; a version without a run id was not recorded yet, so nothing is forgotten over a restart.
Out:  runs and aliases in MLflow; the run's id on `models`; the version's card, as JSON and Markdown, in the run and beside
      the weights. MLflow's copy of the weights goes when the version's own file went.
When MLflow is away this waits and tries again; nothing else waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import orjson

from models.registry import Registry, RegistryUnavailable, RunRecord
from models.weights import CARDS, SUFFIX, path_of
from streams.model_card import card, markdown
from streams.model_records import ModelVersion
from streams.models_topic import ModelsView, ModelView
from streams.releases import Releases

log = logging.getLogger(__name__)

_EVERY_S = 2.0
_LONGEST_WAIT_S = 300.0


class RunRecording:
    """One task. `view` is that of the trainer: folded by its own writes at once."""

    def __init__(self, registry: Registry, releases: Releases, view: ModelsView) -> None:
        self._registry, self._releases, self._view = registry, releases, view
        self._decided: dict[tuple[str, str], tuple[str, str]] = {}  # what stands in MLflow: decision, why
        self._aliases: dict[str, tuple[str | None, ...]] = {}
        self._dropped: set[str] = set()  # runs that keep no weights any more

    def assume_recorded(self) -> None:
        """Versions that have a run id now were recorded by an earlier process, as they stand."""
        for name, model in self._view.models.items():
            for version in model.versions.values():
                if version.run_id is not None:
                    self._decided[name, version.version] = (version.decision, version.why)

    async def run(self, stop: asyncio.Event) -> None:
        """Record whatever is not recorded, until `stop`."""
        wait_s = _EVERY_S
        while not stop.is_set():
            try:
                await self.record_all(stop)
                wait_s = _EVERY_S
            except RegistryUnavailable as error:
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                log.warning("registry-unavailable", extra={"found": str(error), "retry_in_s": wait_s})
            try:
                await asyncio.wait_for(stop.wait(), wait_s)
            except TimeoutError:
                continue

    async def record_all(self, stop: asyncio.Event) -> None:
        """One pass, oldest version first. Raises RegistryUnavailable at the first that can't be written."""
        for name, model in list(self._view.models.items()):
            for version in reversed(model.history()):
                if stop.is_set():
                    return
                if self._decided.get((name, version.version)) != (version.decision, version.why):
                    await self._record(version)
            known = {(name, version) for version in model.versions}
            self._decided = {key: value for key, value in self._decided.items() if key[0] != name or key in known}
            if model.alias is not None:
                aliases = {
                    "champion": model.alias.champion,
                    "previous": model.alias.previous,
                    "challenger": model.alias.challenger,
                }
                if self._aliases.get(name) != tuple(aliases.values()):
                    await asyncio.to_thread(self._registry.set_aliases, name, aliases)
                    self._aliases[name] = tuple(aliases.values())
            await self._drop_old_weights(model, stop)

    async def _drop_old_weights(self, model: ModelView, stop: asyncio.Event) -> None:
        """Of versions whose file was pruned (`Releases`): they serve no more, and nobody can promote them."""
        files = {version.run_id: version.uri for version in model.versions.values() if version.uri.startswith("file:///")}
        for run_id, uri in files.items():
            if stop.is_set():
                return
            if run_id is not None and run_id not in self._dropped and not path_of(uri).exists():
                await asyncio.to_thread(self._registry.drop_weights, run_id)
                self._dropped.add(run_id)

    async def _record(self, version: ModelVersion) -> None:
        run = RunRecord(
            name=version.name,
            type=version.type,
            version=version.version,
            uri=version.uri,
            sha256=version.sha256,
            contract=version.contract,
            base=version.base,
            decision=version.decision,
            why=version.why,
            time_ns=version.time_ns,
            figures=version.figures | _costs(version),
            params=_params(version),
            stages={stage.name: f"{'passed' if stage.passed else 'failed'}: {stage.why}" for stage in version.stages},
        )
        run_id = await asyncio.to_thread(self._registry.record, run)
        texts = _card_texts(version.model_copy(update={"run_id": run_id}))
        await asyncio.to_thread(self._registry.attach, run_id, {f"card{suffix}": text for suffix, text in texts.items()})
        if version.uri:
            await asyncio.to_thread(_write_beside, path_of(version.uri), texts)
        self._decided[version.name, version.version] = (version.decision, version.why)
        await self._releases.set_run(version.name, version.version, run_id)


def _costs(version: ModelVersion) -> dict[str, float]:
    compute = version.compute
    if compute is None:
        return {}
    spent = {"wall_seconds": compute.wall_s, "cpu_seconds": compute.cpu_s}
    return spent if compute.energy is None else spent | {"energy_wh": compute.energy.wh, "carbon_g": compute.energy.carbon_g}


def _params(version: ModelVersion) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {"trigger": version.trigger} if version.trigger else {}
    if version.origin is not None:
        told = card(version)["data"]
        found |= {f"structure.{name}": value for name, value in version.origin.structure.items()}
        found |= {"data_from": told["from"], "data_to": told["to"], "twins": version.origin.twins, "seed": version.origin.seed}
    return found if version.compute is None else found | version.compute.software | {"device": version.compute.device}


def _card_texts(version: ModelVersion) -> dict[str, str]:
    """The card by suffix."""
    told = card(version)
    return {".json": orjson.dumps(told, option=orjson.OPT_INDENT_2).decode(), ".md": markdown(told)}


def _write_beside(weights: Path, texts: dict[str, str]) -> None:
    """Best effort: the record on `models` is what counts."""
    if not weights.is_file():
        return  # pruned
    for suffix in CARDS:
        path = weights.with_name(weights.name.removesuffix(SUFFIX) + suffix)
        try:
            path.write_text(texts[f".{suffix.rpartition('.')[2]}"])
        except OSError as error:
            log.warning("card-not-written", extra={"path": str(path), "found": error.strerror})
