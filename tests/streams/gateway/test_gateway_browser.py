"""The page in a real browser: every page, phone and desktop, light and dark, live, and nothing loaded from elsewhere."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from streams import clients
from streams.records import AlertCommand, DemoCommand, Feedback
from tests.streams.gateway.conftest import Running, await_answer, free_port, gateway_process
from tests.streams.gateway.plant import LEAK, NOTE, NS

T = TypeVar("T")
pytestmark = [pytest.mark.kafka, pytest.mark.browser]

expect.set_options(timeout=20_000)  # what comes over the stream, on a machine that does other work too

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
PAGES = {
    "fleet": ("/", "Values now"),
    "neighbourhood": (f"/?from={LEAK.asset}&depth=2&property.elevation=>1", "declared twins fit"),
    "nothing": ("/?type=water.tank&relationship=drives", "No twin fits"),
    "twin": (f"/twin?asset={LEAK.asset}", "Trends"),
    "alerts": ("/alerts", "Junction 203"),
    "alert": ("/alerts?id=ALERT", NOTE),
    "models": ("/models", "0002-ef56ab78"),
    "card": ("/model?name=water.junction&version=0002-ef56ab78", "Left out of training"),
    "demo": ("/demo", "Switch on a fault"),
    "system": ("/system", "Nothing comes"),
}
SIZES = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


def aside(work: Coroutine[Any, Any, T]) -> T:
    """Run in a thread with a loop of its own: Playwright holds this thread's."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result(30)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, running: Running) -> Iterator[Page]:
    context = browser.new_context(base_url=running.url, viewport=SIZES["desk"])  # type: ignore[arg-type]
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_says_no_error_and_loads_nothing_from_elsewhere(
    browser: Browser, running: Running, size: str, scheme: str
) -> None:
    context = browser.new_context(base_url=running.url, viewport=SIZES[size], color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    own = (running.url, running.url.replace("http:", "ws:"), "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(own) else troubles.append(f"from elsewhere: {request.url}"))
    pictures = os.environ.get("LIVETWIN_TEST_PICTURES")
    for name, (path, shows) in PAGES.items():
        page.goto(path.replace("ALERT", running.plant.alerts[0].id))
        expect(page.get_by_text(shows).first).to_be_visible(timeout=15_000)
        expect(page.locator("h1")).to_be_visible()
        too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert too_wide <= 0, f"{name} is {too_wide} px wider than a {size}"
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(13, 16, 21)") == (scheme == "dark")
        if pictures:
            page.wait_for_timeout(1500)
            Path(pictures).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{pictures}/{size}-{scheme}-{name}.png", full_page=True)
    assert troubles == []
    context.close()


def test_the_map_is_drawn_and_the_table_is_filtered_and_leads_to_a_twin(page: Page) -> None:
    page.goto("/")
    expect(page.locator(".nicegui-echart canvas")).to_be_visible()
    drawn = page.evaluate(
        "() => { const c = document.querySelector('.nicegui-echart canvas');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"
    )
    assert drawn > 2000
    page.get_by_label("Find a twin by name").fill("tank")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("link", name="Tank 1").click()
    expect(page.get_by_role("heading", name="Tank 1")).to_be_visible()


def near(http: httpx.Client, **asked: str) -> int:
    return int(http.get("/v1/fleet", params=asked).json()["total"])


def test_the_fleet_is_asked_on_its_page_and_the_address_keeps_the_question(
    page: Page, http: httpx.Client, running: Running
) -> None:
    page.goto("/")
    page.get_by_label("Filter by type").click()
    page.get_by_role("option", name="Tank").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page).to_have_url(_contains("?type=water.tank"))
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("tbody tr")).to_have_count(25)
    page.get_by_label("Around this twin").fill("Tank 1")
    expect(page).to_have_url(_contains("?from=tank-1"))
    page.get_by_label("How far from it").click()
    page.get_by_role("option", name="2 steps").click()
    expect(page).to_have_url(_contains("?from=tank-1&depth=2"))
    count = near(http, **{"from": "tank-1", "depth": "2"})
    expect(page.locator("tbody tr")).to_have_count(count)
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(count)
    expect(page.get_by_label("Around this twin")).to_have_value("tank-1")
    page.get_by_label("Which way").click()
    page.get_by_role("option", name="Against the arrows").click()
    expect(page).to_have_url(_contains("from=tank-1&depth=2&direction=in"))
    against = near(http, **{"from": "tank-1", "depth": "2", "direction": "in"})
    expect(page.get_by_text(f"{against} of {running.plant.declarations} declared twins fit")).to_be_visible()


def test_static_data_is_asked_on_the_page_and_nothing_found_is_told_why(page: Page, http: httpx.Client) -> None:
    page.goto("/?type=water.tank")
    page.get_by_label("Static data to filter by").click()
    page.get_by_role("option", name="elevation").click()
    page.get_by_label("Wanted").fill(">1000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No twin fits")).to_be_visible()
    expect(page.get_by_text("No twin has elevation >1000. It goes from")).to_be_visible()
    expect(page).to_have_url(_contains("?type=water.tank&property.elevation=%3E1000"))
    page.get_by_role("button", name="Remove elevation >1000").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.goto("/?type=water.valve&depth=two")
    expect(page.get_by_text("No twin is of type water.valve. There are water.junction")).to_be_visible()
    expect(page.get_by_text("depth is 'two', expected a whole number")).to_be_visible()
    page.goto("/?health=alarm&find=junction")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_label("Find a twin by name")).to_have_value("junction")


def test_filters_work_by_keyboard_and_say_that_they_are_on(page: Page) -> None:
    page.goto("/")
    expect(page.locator("tbody tr")).to_have_count(25)
    button = page.get_by_role("button", name="Alarm")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("◆Alarm")


def test_a_twin_shows_its_trend_band_and_a_new_step_without_a_reload(page: Page, running: Running) -> None:
    asset = next(asset for asset in running.plant.twins if asset.startswith("pump-"))
    state = running.plant.twins[asset]
    page.goto(f"/twin?asset={asset}")
    expect(page.get_by_role("img").first).to_have_attribute("aria-label", _contains("Trends: "))
    page.evaluate("window.stayed = true")
    channel = next(iter(state.values))
    newer = state.model_copy(update={"time_ns": state.time_ns + 300 * NS, "values": {**state.values, channel: 123.4}})

    async def put() -> None:
        producer = clients.producer(running.bootstrap, client_id="test")
        await producer.start()
        try:
            await producer.send_and_wait(
                running.topics.state, newer.to_bytes(), key=asset.encode(), partition=state.partition, headers=[("epoch", b"1")]
            )
        finally:
            await producer.stop()

    aside(put())
    running.plant.twins[asset] = newer
    expect(page.get_by_text("123.4")).to_be_visible(timeout=8_000)
    assert page.evaluate("window.stayed")


def test_a_reading_of_poor_quality_is_told_in_words_beside_its_value_and_for_the_period(page: Page, running: Running) -> None:
    asset = next(asset for asset in running.plant.twins if asset.startswith("tank-"))
    state = running.plant.twins[asset]
    page.goto(f"/twin?asset={asset}")
    page.get_by_role("button", name="3 days").click()
    told = page.locator("section", has_text="Readings of poor quality in this period")
    expect(told.locator("tbody tr")).to_have_count(2)
    expect(told).to_contain_text("Stuck the sensor repeats itself")
    expect(page.get_by_role("link", name="W3C WoT Thing Description")).to_have_attribute("href", f"/v1/twins/{asset}/td")
    worse = state.model_copy(update={"time_ns": state.time_ns + 300 * NS, "quality": {**state.quality, "level": "out-of-range"}})

    async def put() -> None:
        producer = clients.producer(running.bootstrap, client_id="test")
        await producer.start()
        try:
            await producer.send_and_wait(
                running.topics.state, worse.to_bytes(), key=asset.encode(), partition=state.partition, headers=[("epoch", b"1")]
            )
        finally:
            await producer.stop()

    aside(put())
    running.plant.twins[asset] = worse
    expect(page.get_by_text("level: out of range; not judged")).to_be_visible()
    expect(page.locator(".lt-channels")).to_contain_text("Outside what the sensor can say, ")


def _contains(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text))


def test_an_alert_opens_with_its_evidence_and_can_be_acknowledged_and_labelled(page: Page, running: Running) -> None:
    page.goto("/alerts")
    page.get_by_role("link", name="Junction 203").click()
    dialog = page.locator(".lt-dialog")
    expect(dialog).to_contain_text("38.21")
    expect(dialog).to_contain_text("44.87 ± 0.61")
    expect(dialog).to_contain_text("offsets 3,100 to 3,164")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("Acknowledged.")).to_be_visible()
    found = aside(clients.read_to_end(running.bootstrap, running.topics.alert_commands))
    commands = [AlertCommand.model_validate_json(one.value) for one in found]
    assert any(one.action == "acknowledge" and one.alert_id == running.plant.alerts[0].id for one in commands)
    dialog.get_by_placeholder(_contains("What was it?")).fill("leak")
    dialog.get_by_role("button", name="Label", exact=True).click()
    expect(page.get_by_text("Labelled leak.")).to_be_visible()
    labels = aside(clients.read_to_end(running.bootstrap, running.topics.feedback))
    given = [Feedback.model_validate_json(one.value) for one in labels]
    assert any((one.alert_id, one.label) == (running.plant.alerts[0].id, "leak") for one in given)


def test_a_fault_is_switched_on_from_the_demo_page(page: Page, running: Running) -> None:
    page.goto("/demo")
    page.get_by_role("button", name="Pump trip").click()
    page.get_by_role("button", name="Switch on", exact=True).click()
    expect(page.get_by_text("switched on.")).to_be_visible()
    expect(page.get_by_role("button", name="Switch off")).not_to_have_count(1)
    found = aside(clients.read_to_end(running.bootstrap, running.topics.demo_commands))
    assert any(DemoCommand.model_validate_json(one.value).fault == "pump-trip" for one in found)


def test_the_system_page_says_of_each_role_whether_anybody_is_at_work_and_how_far_it_is_behind(page: Page) -> None:
    page.goto("/system")
    expect(page.get_by_role("row").filter(has_text="historian").filter(has_text="Keeps up")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="alerting").filter(has_text="Nobody at work")).to_be_visible()


def test_the_theme_can_be_chosen_and_is_remembered(page: Page) -> None:
    page.goto("/system")
    page.get_by_role("button", name="Change between").first.click()
    expect(page.locator("body")).to_have_class(_contains("body--dark"))
    page.wait_for_function("document.cookie.includes('livetwin-theme=dark')")
    page.reload()
    expect(page.locator("body")).to_have_class(_contains("body--dark"))


def test_while_nothing_has_arrived_the_page_says_what_it_waits_for_and_how_to_feed_it(browser: Browser, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with gateway_process(nobody, "none.", tmp_path) as (url, _):
        await_answer(f"{url}/healthz", status=200)
        page = browser.new_page(base_url=url)
        page.goto("/")
        expect(page.get_by_text("Waiting for the first readings")).to_be_visible()
        expect(page.get_by_text("/v1/telemetry")).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text(nobody)
        for path, words in (
            ("/alerts", "Nothing to watch yet"),
            ("/models", "No model yet"),
            ("/demo", "The demo plant is not running"),
        ):
            page.goto(path)
            expect(page.get_by_text(words)).to_be_visible()
        page.close()
