"""Recording runs in MLflow: what is kept there is bounded by what is kept beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from models.registry import Registry
from models.weights import WeightFiles
from streams.model_card import card, markdown
from streams.model_records import ModelVersion, models_key
from streams.models_topic import ModelsView
from streams.releases import Releases
from streams.run_recording import RunRecording

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # mlflow's own tables
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
]

NAME = "water.tank"


class Noted:
    """Stands for `Releases` without a topic: a noted run is in the view at once."""

    def __init__(self, view: ModelsView) -> None:
        self.view = view

    async def set_run(self, name: str, version: str, run_id: str) -> None:
        known = self.view.models[name].versions[version]
        if known.run_id != run_id:
            self.put(known.model_copy(update={"run_id": run_id}))

    def put(self, version: ModelVersion) -> None:
        assert self.view.apply(models_key(version), version.to_bytes())


async def test_the_registry_keeps_weights_as_long_as_the_version_keeps_its_file(tmp_path: Path) -> None:
    files, view = WeightFiles(tmp_path), ModelsView()
    noted = Noted(view)
    for number in (1, 2, 3):
        path = files.path(NAME, f"{number:04d}-aa")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
        noted.put(
            ModelVersion(
                name=NAME,
                type="dtmi:livetwin:water:Tank;1",
                version=path.stem,
                uri=path.as_uri(),
                sha256="ab",
                contract="c0ffee",
                base=None,
                decision="refused",
                why="a test",
                time_ns=number,
            )
        )
    files.path(NAME, "0001-aa").unlink()  # pruned before it was recorded: MLflow was away
    recording = RunRecording(Registry(tmp_path), cast(Releases, noted), view)
    await recording.record_all(asyncio.Event())
    artifacts = tmp_path / "mlflow" / "artifacts"
    assert sorted(path.name for path in artifacts.rglob("*.safetensors")) == ["0002-aa.safetensors", "0003-aa.safetensors"]
    versions = view.models[NAME].versions
    assert all(version.run_id for version in versions.values())
    folder = files.root / NAME
    assert sorted(path.name for path in folder.glob("*.card.*")) == [
        f"000{number}-aa.card.{form}" for number in (2, 3) for form in ("json", "md")
    ]
    beside = (folder / "0003-aa.card.md").read_text()
    assert beside == markdown(card(versions["0003-aa"]))
    assert beside == (artifacts / str(versions["0003-aa"].run_id) / "artifacts" / "card.md").read_text()
    noted.put(versions["0003-aa"].model_copy(update={"decision": "champion", "why": "promoted by hand"}))
    await recording.record_all(asyncio.Event())
    assert "**champion**" in (folder / "0003-aa.card.md").read_text()

    assert files.prune(NAME, keep=1, protect=()) == ["0002-aa"]
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {"0003-aa"}
    await recording.record_all(asyncio.Event())
    assert [path.name for path in artifacts.rglob("*.safetensors")] == ["0003-aa.safetensors"]
