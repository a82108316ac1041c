"""Versions of the small plant for orders by hand: two that serve, one with NaN, one cut after it was announced."""

from __future__ import annotations

import time
from pathlib import Path

from models import version as version_file
from models.served import ServedModel
from streams.model_records import ModelAlias, ModelVersion, models_key
from tests.streams.plant import TYPE, Plant, readings, trained, variant


def announced(model: ServedModel, version: str, path: Path, sha256: str) -> ModelVersion:
    fields = {"name": TYPE.slug, "type": TYPE.id, "contract": TYPE.contract, "decision": "retired", "why": "made for this test"}
    return ModelVersion(version=version, uri=path.as_uri(), sha256=sha256, time_ns=time.time_ns(), base=None, **fields)


def versions(folder: Path) -> dict[str, ModelVersion]:
    """`first`, `second`, `nan` and `cut`, by name; their files are in `folder`."""
    first = trained()
    models = {"first": first, "second": variant(first, 2)}
    found = {}
    for name, model in models.items():
        path = folder / f"{model.version}.safetensors"
        found[name] = announced(model, model.version, path, version_file.save(model, path))
    broken = version_file.load(folder / f"{first.version}.safetensors")
    next(broken.detectors.network.parameters())[0, 0, 0] = float("nan")
    path = folder / "0003-nan.safetensors"
    found["nan"] = announced(broken, "0003-nan", path, version_file.save(broken, path))
    cut = folder / "0004-cut.safetensors"
    cut.write_bytes((folder / f"{first.version}.safetensors").read_bytes()[:1000])
    found["cut"] = announced(first, "0004-cut", cut, found["first"].sha256)
    return found


async def fill(plant: Plant, known: dict[str, ModelVersion]) -> None:
    """The versions with `first` as champion, and a minute of telemetry."""
    champion = known["first"]
    alias = ModelAlias(
        name=TYPE.slug, type=TYPE.id, champion=champion.version, champion_sha256=champion.sha256,
        champion_uri=champion.uri, since_ns=1,
    )  # fmt: skip
    await plant.send(plant.topics.models, [(models_key(one), one.to_bytes()) for one in [*known.values(), alias]])
    await plant.feed(readings(60, faults=False))
