"""MLflow as the record of runs, on its real sqlite store."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from models.registry import Registry, RegistryUnavailable, RunRecord
from models.weights import WeightFiles


def run_of(home: Path, number: int = 1, weights: bytes = b"weights", **more: object) -> RunRecord:
    version = f"{number:04d}-aa"
    path = WeightFiles(home).path("water.tank", version)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    record = RunRecord(
        name="water.tank",
        type="dtmi:livetwin:water:Tank;1",
        version=version,
        uri=path.as_uri(),
        sha256=hashlib.sha256(weights).hexdigest(),
        contract="c0ffee",
        base=None,
        decision="champion",
        why="first model; its checks hold",
        time_ns=1_700_000_000_000_000_000,
        figures={"loss_nats": 0.5, "alarms_per_twin_day": 0.01},
        params={"seed": 7},
    )
    return replace(record, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def registry(home: Path) -> Registry:
    return Registry(home)


def client_of(registry: Registry):  # type: ignore[no-untyped-def]
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=registry.tracking_uri, registry_uri=registry.tracking_uri)


def test_a_run_is_found_in_mlflow_with_figures_reason_and_weights(registry: Registry, home: Path) -> None:
    run_id = registry.record(run_of(home))
    client = client_of(registry)
    run = client.get_run(run_id)
    assert run.data.metrics == {"loss_nats": 0.5, "alarms_per_twin_day": 0.01}
    assert run.data.params == {"seed": "7", "type": "dtmi:livetwin:water:Tank;1", "contract": "c0ffee", "base": "none"}
    assert (run.data.tags["decision"], run.data.tags["why"]) == ("champion", "first model; its checks hold")
    assert run.info.status == "FINISHED"
    (version,) = client.search_model_versions("name = 'water.tank'")
    assert (version.run_id, version.tags["livetwin.version"], version.tags["decision"]) == (run_id, "0001-aa", "champion")
    assert (home / "mlflow" / "artifacts" / run_id / "artifacts" / "0001-aa.safetensors").read_bytes() == b"weights"
    assert (home / "mlflow" / "mlflow.db").is_file()


def test_recording_again_finds_the_same_run_and_takes_over_the_new_decision(registry: Registry, home: Path) -> None:
    first = registry.record(run_of(home, 2))
    again = registry.record(run_of(home, 2, decision="rolled-back", why="rolled back by operator"))
    assert again == first
    run = client_of(registry).get_run(first)
    assert (run.data.tags["decision"], run.data.tags["why"]) == ("rolled-back", "rolled back by operator")
    assert len(client_of(registry).search_model_versions("name = 'water.tank' AND tags.`livetwin.version` = '0002-aa'")) == 1


def test_a_failed_training_is_a_failed_run_without_a_model_version(registry: Registry, home: Path) -> None:
    failed = run_of(home, 3, version="0003-failed", uri="", sha256="", decision="refused", why="loss is not finite", figures={})
    run = client_of(registry).get_run(registry.record(failed))
    assert (run.info.status, run.data.tags["why"]) == ("FAILED", "loss is not finite")
    assert not client_of(registry).search_model_versions("name = 'water.tank' AND tags.`livetwin.version` = '0003-failed'")


def test_aliases_follow_the_champion(registry: Registry, home: Path) -> None:
    for number in (4, 5):
        registry.record(run_of(home, number))
    registry.set_aliases("water.tank", {"champion": "0005-aa", "previous": "0004-aa"})
    named = client_of(registry).get_model_version_by_alias
    assert named("water.tank", "champion").tags["livetwin.version"] == "0005-aa"
    assert named("water.tank", "previous").tags["livetwin.version"] == "0004-aa"
    registry.set_aliases("water.tank", {"champion": "0004-aa", "previous": None})
    assert named("water.tank", "champion").tags["livetwin.version"] == "0004-aa"
    assert dict(client_of(registry).get_registered_model("water.tank").aliases).keys() == {"champion"}
    registry.set_aliases("never.seen", {"champion": None})


def test_dropping_weights_keeps_the_run(registry: Registry, home: Path) -> None:
    run_id = registry.record(run_of(home, 6))
    copy = home / "mlflow" / "artifacts" / run_id / "artifacts" / "0006-aa.safetensors"
    assert copy.is_file()
    registry.drop_weights(run_id)
    registry.drop_weights("0123456789abcdef0123456789abcdef")  # a run that nobody knows any more
    assert not copy.exists()
    assert client_of(registry).get_run(run_id).data.tags["livetwin.version"] == "0006-aa"


def test_an_unusable_folder_says_so_and_is_used_again_once_it_is_back(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlflow"
    folder.write_text("a file where the folder belongs")
    registry = Registry(tmp_path)
    with pytest.raises(
        RegistryUnavailable, match=r"water.tank 0001-aa not recorded at sqlite:.*it will be tried again"
    ) as raised:
        registry.record(run_of(home))
    assert raised.value.retriable
    folder.unlink()
    folder.mkdir()
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as good, closing(sqlite3.connect(folder / "mlflow.db")) as copy:
        good.backup(copy)  # a migrated database, faster than migrating again
    assert registry.record(run_of(home, 7, weights=b"other"))


def test_an_unreachable_server_is_unavailable_and_not_a_crash(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry(home, tracking_uri="http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailable, match=r"at http://127.0.0.1:9"):
        registry.record(run_of(home))
