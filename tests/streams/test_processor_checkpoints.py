"""Checkpoints of an older schema, of a newer one, damaged, or of another log, met by a real processor on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from numpy.typing import NDArray
from safetensors.numpy import save

from models.served import ServedModel
from streams import clients
from streams.checkpoint import OWNER_PREFIX
from streams.checkpoint_bytes import SCHEMA, unpack
from tests.streams.plant import TYPE, Outputs, Plant, readings, trained
from tests.streams.processor_role import Machine, checkpoints, run, state_of
from tests.streams.test_period_replay import until
from tests.streams.test_processor_exactness import same
from twin.arena import Arena
from twin.reading import NO_TIME
from twin.rows import MISSING, NO_OFFSET

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
STEPS, HALF = 500, 260  # at HALF the alarm of p4 is on
Change = Callable[[bytes, bytes], bytes]


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return trained()


def schema_1(key: bytes, value: bytes) -> bytes:
    """The checkpoint as schema 1 wrote it: a safetensors file with whole rings, every array with an axis of one twin."""
    if not key.startswith(b"twin/"):
        return value.replace(b'"schema":%d' % SCHEMA, b'"schema":1')
    header, arrays, _ = unpack(value)
    arena = Arena(TYPE)
    next_step, window = int(arrays["next_step"][0]), int(header["window"])
    channels = len(TYPE.channels)
    rings: dict[str, NDArray[np.generic]] = {
        "values": np.full((arena.slots, channels), np.nan, np.float32),
        "quality": np.full((arena.slots, channels), MISSING, np.uint8),
        "cell_time": np.full((arena.slots, channels), NO_TIME, np.int64),
        "slot_offset": np.full(arena.slots, NO_OFFSET, np.int64),
    }
    closed, still_open = np.arange(next_step - window, next_step) % arena.slots, (next_step + arrays["open.ahead"]) % arena.slots
    for ring, name in (("values", "values"), ("quality", "quality"), ("slot_offset", "offset")):
        rings[ring][closed] = arrays[f"window.{name}"]
    for ring, name in (("values", "values"), ("cell_time", "time"), ("slot_offset", "offset")):
        rings[ring][still_open] = arrays[f"open.{name}"]
    kept = {
        name: array
        for name, array in arrays.items()
        if not name.startswith(("window.", "open.", "carry.", "threshold.", "counts."))
    }
    kept["risk.strength"] = kept.pop("risk.surprise") / np.float32(-np.log10(trained().alarm_p))
    carry = {name: array[None] for name, array in arrays.items() if name.startswith("carry.") and "recent" not in name}
    written = {name: np.ascontiguousarray(array) for name, array in {**rings, **kept, **carry}.items()}
    return save(written, {"livetwin": orjson.dumps({**header, "schema": "1"}).decode()})


def schema_9(key: bytes, value: bytes) -> bytes:
    if not key.startswith(b"twin/"):
        return value.replace(b'"schema":%d' % SCHEMA, b'"schema":9')
    return value[:4] + (9).to_bytes(2, "little") + b"laid out in another way"


def damaged(key: bytes, value: bytes) -> bytes:
    return {b"twin/p1": value[: len(value) // 2], b"twin/p4": b"", b"partition/0": b"[]"}.get(key, value)


async def rewrite(plant: Plant, change: Change, also: dict[tuple[int, bytes], bytes]) -> None:
    """Change the newest checkpoint of every key, in its partition."""
    newest = {
        (one.partition, one.key): one.value
        for one in await clients.read_to_end(plant.bootstrap, plant.topics.checkpoint)
        if not one.key.startswith(OWNER_PREFIX)
    }
    async with clients.producer(plant.bootstrap, client_id="another version") as producer:
        for (partition, key), value in {**{at: change(at[1], value) for at, value in newest.items()}, **also}.items():
            await producer.send_and_wait(plant.topics.checkpoint, value, key=key, partition=partition)


async def doctor(machine: Machine) -> str:
    """What it says of checkpoints."""
    role = machine.command("doctor")
    role.start()
    assert role.process is not None
    await asyncio.to_thread(role.process.wait, 120)
    (line,) = [line for line in role.log.read_text().splitlines() if line.split()[1:2] == ["checkpoints"]]
    role.log.unlink()
    return line


async def halfway(kafka: str, prefix: str, model: ServedModel, folder: Path) -> tuple[Plant, Machine]:
    plant = await Plant.built(kafka, prefix)
    await plant.promote(model, folder)
    await plant.feed(readings(STEPS)[:, :HALF])
    machine = Machine(plant, folder, prefix)
    await run(machine, plant)
    return plant, machine


def without_risk(found: Outputs) -> tuple[object, object]:
    """Steps without their risk; which twins and conditions there are signals of, and the first step of each."""
    first: dict[tuple[str, str], int] = {}
    for key in found.signals:
        asset, condition, time_ns = cast("tuple[str, str, int]", key)
        first[asset, condition] = min(time_ns, first.get((asset, condition), time_ns))
    return {key: (*row[:5], row[6]) for key, row in found.history.items()}, first  # type: ignore[index]


_CALM: dict[str, tuple[Outputs, dict[bytes, bytes]]] = {}


async def undisturbed(kafka: str, prefix: str, model: ServedModel, folder: Path) -> tuple[Outputs, dict[bytes, bytes]]:
    """Outputs and checkpoints of a run that nobody disturbed; one for all cases."""
    if model.version not in _CALM:
        plant, machine = await halfway(kafka, f"{prefix}calm.", model, folder)
        await plant.feed(readings(STEPS)[:, HALF:], first=HALF)
        await run(machine, plant)
        _CALM[model.version] = await plant.outputs(), await checkpoints(plant)
    return _CALM[model.version]


CASES = {
    "older": (schema_1, ["ok     checkpoints", "6 of them from an older schema"], {}),
    "newer": (schema_9, ["note   checkpoints", "schema 9", "start the version of livetwin that wrote it", "all that was"], {}),
    # one of them of a twin of which the log has nothing: it must not cost every owner to come a whole fold
    "damaged": (damaged, ["note   checkpoints", "not readable", "folds its"], {(1, b"twin/gone"): b"LTCP"}),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_processor_goes_on_from_checkpoints_that_it_did_not_write(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path, case: str
) -> None:
    change, says, also = CASES[case]
    expected, state = await undisturbed(kafka, topic_prefix, model, tmp_path)
    plant, machine = await halfway(kafka, f"{topic_prefix}other.", model, tmp_path)
    await rewrite(plant, change, also)
    told = await doctor(machine)
    for part in says:
        assert part in told, told

    await plant.feed(readings(STEPS)[:, HALF:], first=HALF)
    machine.role.log.unlink()
    await run(machine, plant)
    refused = case != "older"
    found = await plant.outputs()
    if refused:
        same(found, expected)
    else:  # the threshold of a twin's own begins anew, so risk may be another, and an alarm's end
        assert without_risk(found) == without_risk(expected)
    assert bool(machine.told("partition-folded-again")) == refused
    assert bool(machine.told("checkpoint-not-used")) == refused
    last = await checkpoints(plant)
    assert last.keys() == state.keys()
    for key, value in state.items():
        if key.startswith(b"twin/"):
            anew = () if refused else ("recent", "risk.", "threshold.", "counts.", "conditions.")
            one, other = (
                {name: array for name, array in state_of(saved).items() if not any(word in name for word in anew)}
                for saved in (last[key], value)
            )
            assert one == other
    # the next owner meets good ones
    machine.role.log.unlink()
    await run(machine, plant)
    assert not machine.told("partition-folded-again")
    assert " ".join((await doctor(machine)).split()).startswith("ok checkpoints 6 twins of 3 partitions can be taken over")


async def test_checkpoints_of_a_log_that_is_no_more_are_not_used(
    kafka: str, topic_prefix: str, model: ServedModel, tmp_path: Path
) -> None:
    """Telemetry was deleted and made anew: its offsets begin again, and what comes now must not pass for folded already."""
    plant, machine = await halfway(kafka, topic_prefix, model, tmp_path)
    before = await plant.outputs()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_topics([plant.topics.telemetry])
        spec = next(spec for spec in plant.topics.specs(3) if spec.name == plant.topics.telemetry)
        made = NewTopic(spec.name, 3, 1, topic_configs=dict(spec.config))

        async def created() -> bool:  # refused for as long as the former one is being deleted
            return not (await admin.create_topics([made])).topic_errors[0][1]

        await until(created, "telemetry is there anew")
    finally:
        await admin.close()
    assert "made anew" in await doctor(machine)
    await plant.feed(readings(STEPS)[:, HALF : HALF + 60], first=HALF)
    machine.role.log.unlink()
    await run(machine, plant)
    assert machine.told("made anew")
    found = await plant.outputs()
    new = found.history.keys() - before.history.keys()
    assert len(new) == 6 * (60 - 3)
    # scored, by the version that serves: its switches of the former log do not hold for this one
    assert {found.history[key][-1] for key in new} == {model.version}  # type: ignore[index]
