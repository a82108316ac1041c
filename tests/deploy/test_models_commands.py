"""`livetwin models` against a real broker, trainer and processor: lists, cards, differences, orders and their answers."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.cli import app
from models.origin import Compute, Energy, Origin
from streams.model_orders import ModelUnknown
from streams.model_records import ModelVersion
from streams.models_topic import ModelView, read_models
from streams.topics import Topics
from tests.faults import processes
from tests.streams.hand_versions import fill, versions
from tests.streams.plant import TYPE, Plant

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
NAME = TYPE.slug
WAIT = ["--timeout", "120"]
ENERGY = Energy(0.5, 0.25, 0.0, 0.3, False, "estimated: CPU time at 8 W for all 2 threads (as set)", "FRA")
COMPUTE = Compute(12.5, 11.0, "cpu", {"livetwin": "0.1.0", "python": "3.11.7"}, ENERGY)

Run = Callable[..., Result]


def told(version: ModelVersion, seed: int) -> ModelVersion:
    """With what training tells of a version."""
    origin = Origin(10**18, 2 * 10**18, 10**9, 6, ("p0", "p1"), ("flow", "heat"), seed, {"rank": 4.0, "calendar_day": False})
    figures = {"candidate_loss": 1.0 + seed, "champion_loss": 2.0, "hygiene_alerted": 7.0, "parameters": 100.0}
    return version.model_copy(update={"origin": origin, "compute": COMPUTE, "figures": figures})


@pytest.fixture
def livetwin(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LIVETWIN_TOPIC_PREFIX", topic_prefix)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["models", "--kafka", kafka, *words])

    return run


@pytest.fixture
def known(kafka: str, topic_prefix: str, tmp_path: Path) -> dict[str, ModelVersion]:
    found = versions(tmp_path)
    found |= {name: told(found[name], seed) for seed, name in enumerate(("first", "second"))}
    asyncio.run(_filled(kafka, topic_prefix, found))
    return found


async def _filled(kafka: str, topic_prefix: str, found: dict[str, ModelVersion]) -> None:
    await fill(await Plant.built(kafka, topic_prefix), found)


@pytest.fixture
def roles(kafka: str, topic_prefix: str, tmp_path: Path, known: dict[str, ModelVersion]) -> Iterator[None]:
    running = [processes.processor(kafka, topic_prefix, tmp_path), processes.trainer(kafka, topic_prefix, tmp_path, every_s=1e6)]
    with ExitStack() as opened:
        for role in running:
            process = role.start()
            opened.callback(process.wait)
            opened.callback(process.send_signal, signal.SIGTERM)
        yield


def answer(result: Result) -> Any:
    return json.loads(result.stdout)


def model(kafka: str, topic_prefix: str) -> ModelView:
    return asyncio.run(read_models(kafka, Topics(topic_prefix))).models[NAME]


@pytest.mark.usefixtures("roles")
def test_orders_are_carried_out_or_refused_with_the_reason(
    livetwin: Run, known: dict[str, ModelVersion], kafka: str, topic_prefix: str
) -> None:
    first, second = known["first"].version, known["second"].version

    promoted = livetwin("promote", NAME, second, "--by", "ada", "--json", *WAIT)
    assert promoted.exit_code == 0, promoted.output
    assert answer(promoted) | {"served": None} == {
        "model": NAME, "action": "promote", "outcome": "done", "version": second,
        "why": f"champion is {second}: promoted by ada", "served": None,
    }  # fmt: skip
    rolled_back = livetwin("rollback", NAME, "--by", "ada", *WAIT)
    assert rolled_back.exit_code == 0, rolled_back.output
    assert rolled_back.stdout.splitlines()[0] == f"done: champion is {first}: rolled back to by ada"

    cut = livetwin("promote", NAME, "0004-cut", *WAIT)  # the trainer looks before it leaps
    assert cut.exit_code == 3
    assert "refused: promote by " in cut.stdout
    assert "hash: " in cut.stdout
    unlearnt = livetwin("train", NAME, *WAIT)  # a minute of readings
    assert unlearnt.exit_code == 3
    assert f"{NAME} not trained: " in unlearnt.stdout
    assert model(kafka, topic_prefix).alias is not None
    assert model(kafka, topic_prefix).pending() == []
    assert answer(livetwin("list", "--json"))[0]["champion"] == first


def test_an_order_that_nobody_carries_out_is_taken_back(
    livetwin: Run, known: dict[str, ModelVersion], kafka: str, topic_prefix: str
) -> None:
    left = livetwin("promote", NAME, known["second"].version, "--timeout", "1")
    assert left.exit_code == 4
    assert "unanswered: no trainer has carried it out within 1 s; it was taken back" in left.stdout
    assert model(kafka, topic_prefix).commands == {}
    with pytest.raises(ModelUnknown, match=f"no model 'pump', expected one of: {NAME}; nothing was done"):
        raise livetwin("train", "pump").exception or AssertionError


def test_versions_are_listed_told_compared_and_exported(livetwin: Run, known: dict[str, ModelVersion], tmp_path: Path) -> None:
    first, second = known["first"], known["second"]
    listed = livetwin("list").stdout.splitlines()
    assert listed[0].split() == ["model", "champion", "since", "challenger", "versions", "last", "decision"]
    assert listed[1].split()[:5] == [NAME, first.version, "1970-01-01T00:00:00Z", "–", "4"]

    shown = livetwin("show", NAME).stdout
    assert f"# {NAME} {first.version}" in shown
    for row in (
        "| event time | 2001-09-09T01:46:40Z to 2033-05-18T03:33:20Z (11,574 days) |",
        "| alerted | 7 |",
        "| loss | 1 | 2 |",
        "| energy | 0.75 Wh (processor 0.5, memory 0.25, GPU 0) |",
        "| greenhouse gas | 0.3 g CO2e, electricity of: FRA |",
        "| seed | 0 |",
    ):
        assert row in shown
    card = answer(livetwin("show", NAME, "0002", "--json"))  # a beginning is enough
    assert (card["model"]["version"], card["data"]["seed"], card["hygiene"]) == (second.version, 1, {"alerted": 7.0})
    assert card["compute"]["energy"]["wh"] == 0.75

    found = answer(livetwin("diff", NAME, first.version, second.version, "--json"))
    assert ["loss candidate", 1.0, 2.0] in found["sections"]["gate"]
    moved = [one for one in found["weights"] if one["l2"]]
    assert len(moved) == 1  # the second is the first with one tensor 2 ‰ larger
    assert moved[0]["relative"] == pytest.approx(0.002, rel=1e-3)
    assert found["weights"][0] == moved[0]
    text = livetwin("diff", NAME, first.version, second.version).stdout
    assert "structure: the same" in text
    assert moved[0]["name"] in text
    assert "sha256 is" in answer(livetwin("diff", NAME, first.version, "0004-cut", "--json"))["weights_why"]

    folder = tmp_path / "out"
    assert len(livetwin("export", NAME, second.version, "--out", str(folder)).stdout.splitlines()) == 3
    weights = folder / f"{second.version}.safetensors"
    assert weights.read_bytes() == (tmp_path / weights.name).read_bytes()
    assert json.loads((folder / f"{second.version}.json").read_text()) == card
    assert livetwin("export", NAME, "0004-cut", "--out", str(tmp_path / "none")).exit_code == 1
    assert not (tmp_path / "none").exists()
