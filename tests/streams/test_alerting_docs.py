"""docs/alerts.md says what is: its records are records, its subscriber runs."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import orjson
import pytest

from streams.alert_routing import Router
from streams.records import Alert, AlertCommand, alert_id
from tests.streams.alerting_run import ROOT, alerting_run, make_signal

PAGE = (ROOT / "docs" / "alerts.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_records_are_whole_and_their_ids_are_made_as_told() -> None:
    first, second = blocks("json")
    alert = Alert.model_validate_json(first)
    assert orjson.loads(first).keys() == orjson.loads(alert.to_bytes()).keys()
    assert alert.id == alert_id(alert.asset, alert.condition, alert.onset_ns)
    assert AlertCommand.model_validate_json(second).alert_id == alert.id


def test_every_field_of_an_alert_is_told() -> None:
    table = PAGE.split("## Fields")[1].split("```")[0]
    assert [name for name in Alert.model_fields if f"`{name}`" not in table] == []


def test_every_reason_for_a_dead_letter_is_told() -> None:
    source = (ROOT / "twin" / "alert_command.py").read_text() + Path(str(sys.modules[Router.__module__].__file__)).read_text()
    reasons = set(re.findall(r'"((?:undecodable|unknown|no)-[a-z]+)"', source))
    assert len(reasons) == 5
    assert [reason for reason in reasons if f"`{reason}`" not in PAGE] == []


@pytest.mark.kafka
async def test_the_subscriber_of_the_page_prints_an_alert(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    (code,) = blocks("python")
    code = code.replace("127.0.0.1:9092", kafka).replace("livetwin.alerts", f"{topic_prefix}alerts")
    async with alerting_run(kafka, topic_prefix, tmp_path) as run:
        run.start()
        await run.signals([make_signal("raise", 1, 1, severity="major")])
        subscriber = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        try:
            assert subscriber.stdout is not None
            line = await asyncio.wait_for(subscriber.stdout.readline(), 120)
        finally:
            subscriber.kill()
            await subscriber.communicate()
    assert line.decode() == "major: p1 flow is 9.5, expected 4.2\n"
