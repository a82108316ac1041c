"""The models page against a real trainer and processor: promote, roll back; what can't serve is refused with its reason."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from models import version as version_file
from models.served import ServedModel
from streams.model_records import ModelAlias, ModelVersion, models_key
from tests.faults import processes
from tests.streams.gateway.conftest import await_answer, gateway_process
from tests.streams.gateway.test_gateway_browser import FLAGS
from tests.streams.plant import TYPE, Plant, readings, trained, variant

pytestmark = [pytest.mark.kafka, pytest.mark.browser, pytest.mark.slow]
ANSWERED_MS = 60_000  # trainer, processor and gateway each have a part in it


def announced(model: ServedModel, version: str, path: Path, sha256: str) -> ModelVersion:
    fields = {"name": TYPE.slug, "type": TYPE.id, "contract": TYPE.contract, "decision": "retired", "why": "made for this test"}
    return ModelVersion(version=version, uri=path.as_uri(), sha256=sha256, time_ns=time.time_ns(), base=None, **fields)


def versions(folder: Path) -> dict[str, ModelVersion]:
    """Two that serve, one with NaN weights, one that was cut after it was announced."""
    first = trained()
    models = {"first": first, "second": variant(first, 2)}
    found = {}
    for name, model in models.items():
        path = folder / f"{model.version}.safetensors"
        found[name] = announced(model, model.version, path, version_file.save(model, path))
    broken = version_file.load(folder / f"{first.version}.safetensors")
    next(broken.detectors.network.parameters()).view(-1)[0] = float("nan")
    path = folder / "0003-nan.safetensors"
    found["nan"] = announced(broken, "0003-nan", path, version_file.save(broken, path))
    cut = folder / "0004-cut.safetensors"
    cut.write_bytes((folder / f"{first.version}.safetensors").read_bytes()[:1000])
    found["cut"] = announced(first, "0004-cut", cut, found["first"].sha256)
    return found


async def fill(plant: Plant, known: dict[str, ModelVersion]) -> None:
    champion = known["first"]
    alias = ModelAlias(
        name=TYPE.slug, type=TYPE.id, champion=champion.version, champion_sha256=champion.sha256,
        champion_uri=champion.uri, since_ns=1,
    )  # fmt: skip
    await plant.send(plant.topics.models, [(models_key(one), one.to_bytes()) for one in [*known.values(), alias]])
    await plant.feed(readings(60, faults=False))


@pytest.fixture
def page(kafka: str, topic_prefix: str, tmp_path: Path, chromium: str) -> Iterator[tuple[Page, dict[str, ModelVersion]]]:
    known = versions(tmp_path)
    plant = asyncio.run(Plant.built(kafka, topic_prefix))
    asyncio.run(fill(plant, known))
    roles = [processes.processor(kafka, topic_prefix, tmp_path), processes.trainer(kafka, topic_prefix, tmp_path, every_s=1e6)]
    with ExitStack() as opened:
        for role in roles:
            process = role.start()
            opened.callback(process.wait)
            opened.callback(process.send_signal, signal.SIGTERM)
        url, _ = opened.enter_context(gateway_process(kafka, topic_prefix, tmp_path / "gateway"))
        await_answer(f"{url}/readyz", status=200)
        browser = opened.enter_context(sync_playwright()).chromium.launch(executable_path=chromium, args=FLAGS)
        opened.callback(browser.close)
        shown = browser.new_page(base_url=url, viewport={"width": 1280, "height": 900})
        shown.goto("/models")
        yield shown, known


def promote(page: Page, version: str) -> None:
    page.get_by_label("Version to promote").click()
    page.get_by_role("option", name=version).click()
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("Asked the trainer.").first).to_be_visible()


def serving(page: Page) -> Locator:
    return page.locator("p", has_text="Serving now:")


def test_promote_and_roll_back_by_hand_and_a_refused_version_is_shown_with_its_reason(
    page: tuple[Page, dict[str, ModelVersion]],
) -> None:
    shown, known = page
    first, second = known["first"].version, known["second"].version
    expect(serving(shown)).to_contain_text(first, timeout=ANSWERED_MS)

    promote(shown, second)
    expect(serving(shown)).to_contain_text(f"{second} on partition 0, 1, 2.", timeout=ANSWERED_MS)
    expect(shown.get_by_text("promoted by operator").first).to_be_visible()

    shown.get_by_role("button", name="Roll back").click()
    expect(serving(shown)).to_contain_text(f"{first} on partition 0, 1, 2.", timeout=ANSWERED_MS)
    expect(shown.get_by_text("rolled back by operator").first).to_be_visible()

    promote(shown, "0003-nan")  # its hash is right: only the processor finds out
    refused = shown.get_by_text("0003-nan could not be served").locator("..")
    expect(refused).to_contain_text("non-finite", timeout=ANSWERED_MS)
    expect(refused).to_contain_text(f"{first} keeps serving")

    promote(shown, "0004-cut")  # the trainer looks before it leaps
    refused = shown.get_by_text("0004-cut could not be served").locator("..")
    expect(refused).to_contain_text("hash", timeout=ANSWERED_MS)
    expect(serving(shown)).to_contain_text(f"{first} on partition 0, 1, 2.")
