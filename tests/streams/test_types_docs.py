"""docs/types.md: its examples are declared, and do what the page says."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from deploy.topics import ensure_topics
from streams import clients
from streams.definitions import Definitions
from streams.topics import Topics
from twin import dtdl, type_sets
from twin.growing import MOST_REVISIONS
from twin.type_references import DEEPEST, MOST_BASES
from twin.types import STREAM_CONTEXT

PAGE = (Path(__file__).parents[2] / "docs" / "types.md").read_text()
EXAMPLES: list[Any] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.S)]


def declared() -> Definitions:
    pump, others, twin, change = EXAMPLES
    view = Definitions()
    for one in (pump, *others):
        assert view.apply(f"type/{one['@id']}".encode(), json.dumps(one).encode())
    assert view.apply(f"twin/{twin['asset']}".encode(), json.dumps(twin).encode())
    assert view.apply(f"property/{change['asset']}/{change['time']}".encode(), json.dumps(change).encode())
    return view


def test_the_examples_are_declared_without_a_fault_or_a_note() -> None:
    assert declared().faults == {}
    found = type_sets.compile_set([("page", [EXAMPLES[0], *EXAMPLES[1]])])
    assert [str(one) for one in found.findings] == []


def test_the_pump_has_the_channels_that_the_page_names() -> None:
    named = re.search(r"The pump has the channels (.*?)\.\n", PAGE)
    assert named is not None
    kind = declared().types["dtmi:plant:Pump;1"]
    assert list(kind.channel_names) == re.findall(r"`([^`]+)`", named[1])
    flow = kind.channels[0]
    assert (flow.high_limit, flow.gap_rule, flow.gap_limit, flow.spike_limit) == (60, "linear", 3, 20)


def test_the_twin_sends_other_units_and_got_another_impeller() -> None:
    view = declared()
    assert view.fleet.properties("p1") == {"impeller": "B"}
    assert view.terms_at("p1", 0)[1] == {"flow": "gallonPerMinute", "temp": "degF"}


@pytest.mark.parametrize("word", dtdl.DURATIONS)
def test_every_duration_of_an_interface_is_on_the_page(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_limits_on_the_page_are_those_of_the_code() -> None:
    assert f"{DEEPEST[3]} levels (version 4: {DEEPEST[4]}), {MOST_BASES:,} interfaces" in PAGE
    assert type_sets.DEEPEST_COMPONENT == 4
    assert f"At most {MOST_REVISIONS} revisions" in PAGE
    assert STREAM_CONTEXT in PAGE


@pytest.mark.kafka
def test_the_script_of_the_page_declares_a_type_and_a_twin_of_it(kafka: str, tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    topics = Topics(f"t{uuid.uuid4().hex[:10]}.")
    asyncio.run(ensure_topics(kafka, topics, 1))
    (tmp_path / "pump.json").write_text(json.dumps({**EXAMPLES[1][2], "@id": "dtmi:plant:Pump;1"}))
    own = script.replace("127.0.0.1:9092", kafka).replace("livetwin.definitions", topics.definitions)
    subprocess.run([sys.executable, "-c", own], cwd=tmp_path, check=True, timeout=60)
    view = Definitions()
    for record in asyncio.run(clients.read_to_end(kafka, topics.definitions)):
        assert view.apply(record.key, record.value)
    assert view.faults == {}
    twin = view.fleet.get("pump-2")
    assert twin is not None
    assert (twin.type, twin.properties) == ("dtmi:plant:Pump;1", {"site": "north"})
    assert view.types[twin.type].channel_names == ("level",)
