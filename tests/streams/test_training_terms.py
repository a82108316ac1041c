"""What is trained on is what was served: units and types that change in the middle of the log, folded by both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray

from deploy.topics import ensure_topics
from streams import clients
from streams.definitions import Definitions
from streams.folding import Folder
from streams.log_record import PlainRecord
from streams.replaying import Replay
from streams.terms import Term
from streams.topics import Topics
from twin.quality import Quality

START, STEPS, CHANGE = 1_700_000_000, 160, 100


def interface(version: int, unit: str | None, **more: str | None) -> dict[str, Any]:
    contents = [
        {"@type": "Telemetry", "name": name, "schema": "double"}
        if of is None
        else {"@type": ["Telemetry", "Temperature"], "name": name, "schema": "double", "unit": of}
        for name, of in {"temp": unit, **more}.items()
    ]
    grid = {"samplingPeriod": "PT1S", "lateness": "PT0S", "maxAhead": None}
    return {"@id": f"dtmi:plant:Boiler;{version}", "@type": "Interface", **grid, "contents": contents}


BEFORE = interface(1, "degreeCelsius")


def celsius(step: int) -> float:
    return 60.0 + 10.0 * float(np.sin(step / 9))


def records(before: Callable[[float], float], after: Callable[[float], float]) -> list[PlainRecord]:
    """A reading a step; from CHANGE on the source sends otherwise."""
    sent = [(after if step >= CHANGE else before)(celsius(step)) for step in range(STEPS)]
    return [
        PlainRecord("t", 0, step, 0, b"b", orjson.dumps({"asset": "b", "time": START + step, "temp": value, "level": 7.0}))
        for step, value in enumerate(sent)
    ]


def declare(view: Definitions, kind: dict[str, Any], units: dict[str, str]) -> None:
    view.apply(f"type/{kind['@id']}".encode(), orjson.dumps(kind))
    view.apply(b"twin/b", orjson.dumps({"asset": "b", "type": kind["@id"], "units": units}))


def changed(kind: dict[str, Any], units: dict[str, str]) -> Definitions:
    """Declared as BEFORE, and from CHANGE on as this; the owner of the partition has written that down."""
    view = Definitions()
    declare(view, BEFORE, {})
    declare(view, kind, units)
    then, now = Term(offset=0, type=BEFORE["@id"], units={}), Term(offset=CHANGE, type=kind["@id"], units=units)
    view.apply(*view.terms.change("b", 1, then, now))
    return view


def windows(folder: Folder, sent: list[PlainRecord], channel: str) -> dict[int, NDArray[np.float32]]:
    """By step, what one channel showed; cells that were not known are NaN."""
    found: dict[int, NDArray[np.float32]] = {}
    for part in (sent[:30], sent[30 : CHANGE + 5], sent[CHANGE + 5 :]):
        for closed in folder.fold(part).closed:
            if channel not in closed.type.channel_names:
                continue
            at = closed.type.channel_names.index(channel)
            unknown = (closed.windows.quality[:, :, at] & np.uint8(Quality.MISSING | Quality.GAP)) != 0
            shown = np.where(unknown, np.nan, closed.windows.values[:, :, at]).astype(np.float32)
            found.update(zip(closed.step.tolist(), shown, strict=True))
    return found


def test_a_source_that_changes_its_unit_is_trained_on_as_it_was_served() -> None:
    view = changed(BEFORE, {"temp": "degreeFahrenheit"})
    sent = records(lambda c: c, lambda c: c * 1.8 + 32)
    served, trained = windows(Folder(view), sent, "temp"), windows(Folder(view, of_now=True), sent, "temp")
    assert len(served) == STEPS - 1
    assert served.keys() == trained.keys()
    for step, window in served.items():
        np.testing.assert_array_equal(trained[step], window)
    np.testing.assert_allclose(trained[START + STEPS - 2], [celsius(step) for step in range(STEPS - 65, STEPS - 1)], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "units", "after"),
    [
        (interface(2, "kelvin"), {}, lambda c: c + 273.15),  # source and type change
        (interface(2, "kelvin"), {"temp": "degreeCelsius"}, lambda c: c),  # the type alone
        (interface(2, "degreeCelsius", level=None), {}, lambda c: c),  # a channel more
        (interface(2, None), {}, lambda c: c),  # the unit is taken back: nobody knows how values before compare
    ],
)
def test_a_twin_of_another_type_is_trained_on_what_its_windows_took_along(
    kind: dict[str, Any], units: dict[str, str], after: Callable[[float], float]
) -> None:
    view = changed(kind, units)
    sent = records(lambda c: c, after)
    served, trained = windows(Folder(view), sent, "temp"), windows(Folder(view, of_now=True), sent, "temp")
    for step in range(START + CHANGE, START + STEPS - 1):
        np.testing.assert_allclose(trained[step], served[step], rtol=1e-6)
    taken_along = ~np.isnan(trained[START + CHANGE])
    assert taken_along.all() == (kind["contents"][0].get("unit") is not None)


def test_the_history_of_a_new_channel_is_trained_on_as_far_as_the_source_sent_it() -> None:
    view = changed(interface(2, "degreeCelsius", level=None), {})
    sent = records(lambda c: c, lambda c: c)
    served, trained = windows(Folder(view), sent, "level"), windows(Folder(view, of_now=True), sent, "level")
    assert np.isnan(served[START + CHANGE][:-1]).all(), "a window that was served knew nothing of it before"
    assert not np.isnan(trained[START + CHANGE]).any()


@pytest.mark.kafka
async def test_terms_that_are_told_after_a_stretch_was_folded_have_it_folded_again(kafka: str, topic_prefix: str) -> None:
    topics = Topics(topic_prefix)
    await ensure_topics(kafka, topics, partitions=1)

    async def tell(producer: AIOKafkaProducer, *told: tuple[bytes, bytes]) -> None:
        for key, value in told:
            await producer.send_and_wait(topics.definitions, value, key=key)

    sent = records(lambda c: c, lambda c: c * 1.8 + 32)
    view = Definitions()
    declare(view, BEFORE, {})
    twin = {"asset": "b", "type": BEFORE["@id"], "units": {"temp": "degreeFahrenheit"}}
    then = Term(offset=0, type=BEFORE["@id"], units={})
    now = Term(offset=CHANGE, type=BEFORE["@id"], units={"temp": "degreeFahrenheit"})
    async with clients.producer(kafka, client_id="test") as producer, Replay(kafka, topics, max_steps=STEPS) as replay:
        await tell(producer, (b"type/" + BEFORE["@id"].encode(), orjson.dumps(BEFORE)))
        await tell(producer, (b"twin/b", orjson.dumps({"asset": "b", "type": BEFORE["@id"]})))
        for one in sent:
            await producer.send_and_wait(topics.telemetry, one.value, key=one.key)
        await replay.catch_up()
        # the trainer was here before the owner of the partition had decided from where on the new unit holds
        await tell(producer, (b"twin/b", orjson.dumps(twin)), view.terms.change("b", 1, then, now))
        assert await replay.catch_up() == STEPS
        block = replay.builders[BEFORE["@id"]].block()
    np.testing.assert_allclose(block.values[0, :, 0], [celsius(step) for step in range(STEPS - 1)], rtol=1e-6)
