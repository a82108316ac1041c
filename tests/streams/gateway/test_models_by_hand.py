"""The models page against a real trainer and processor: promote, roll back; what can't serve is refused with its reason."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from streams.model_records import ModelVersion
from tests.faults import processes
from tests.streams.gateway.conftest import await_answer, gateway_process
from tests.streams.gateway.test_gateway_browser import FLAGS
from tests.streams.hand_versions import fill, versions
from tests.streams.plant import Plant

pytestmark = [pytest.mark.kafka, pytest.mark.browser, pytest.mark.slow]
ANSWERED_MS = 60_000  # trainer, processor and gateway each have a part in it


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
