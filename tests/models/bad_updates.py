"""Bad updates of every kind: files that are not what they should be, weights that do harm, training on what must not train.

Each is made from a good version and named for what is wrong with it; beside it stands what the refusal must say.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import version
from models.detectors import DETECTORS, Detectors
from models.served import ServedModel
from models.training import Trained
from twin.block import StepBlock

PER_TWIN = (
    "loc",
    "scale",
    "centre",
    "basis",
    "level_weights",
    "good_share",
    *(f"table_{name}" for name in (*DETECTORS, "fused")),
)
PER_TWIN_NETWORK = ("down", "up", "bias", "step")


@dataclass(frozen=True)
class BadFile:
    """Bytes that were announced with a hash."""

    payload: bytes
    sha256: str | None = None  # None: that of the bytes


Made = ServedModel | BadFile


def copied(trained: Trained) -> ServedModel:
    return version.decode(trained.payload)


def rewritten(trained: Trained, **changes: Any) -> BadFile:
    """The file with another header; a value of ... removes the field."""
    tensors = safetensors.torch.load(trained.payload)
    fields = {**trained.model.info.as_dict(), **changes}
    header = json.dumps({name: value for name, value in fields.items() if value is not ...})
    return BadFile(safetensors.torch.save(tensors, metadata={"livetwin": header}))


def retensored(trained: Trained, change: Callable[[dict[str, Tensor]], None]) -> BadFile:
    tensors = safetensors.torch.load(trained.payload)
    change(tensors)
    header = json.dumps(trained.model.info.as_dict())
    return BadFile(safetensors.torch.save(tensors, metadata={"livetwin": header}))


def with_value(trained: Trained, tensor: str, value: float) -> BadFile:
    def put(tensors: dict[str, Tensor]) -> None:
        tensors[tensor].view(-1)[-1] = value

    return retensored(trained, put)


def changed(trained: Trained, *names: str, by: Callable[[Tensor], Tensor]) -> ServedModel:
    model = copied(trained)
    with torch.no_grad():
        for name in names:
            tensor = model.detectors.state_dict()[name]
            tensor.copy_(by(tensor.clone()))
    return model


def of_info(trained: Trained, **changes: Any) -> ServedModel:
    model = copied(trained)
    model.info = replace(model.info, **changes)
    return model


def rebuilt(trained: Trained, **architecture: Any) -> ServedModel:
    """A network of another size, its weights as they are drawn."""
    info = replace(trained.model.info, architecture=replace(trained.model.info.architecture, **architecture))
    torch.manual_seed(3)
    detectors = Detectors(info.architecture, info.layout)
    own, given = detectors.state_dict(), trained.model.detectors.state_dict()
    for name, tensor in own.items():
        if not name.startswith("network.") or name == "network.step":
            tensor.copy_(given[name])
    return ServedModel(info, detectors, sha256="", device="cpu")


def without_twins(trained: Trained, keep: int) -> ServedModel:
    info = trained.model.info
    info = replace(info, assets=info.assets[:keep], architecture=replace(info.architecture, twins=keep))
    detectors = Detectors(info.architecture, info.layout)
    given = trained.model.detectors.state_dict()
    twins = {*PER_TWIN, *(f"network.{name}" for name in PER_TWIN_NETWORK)}
    detectors.load_state_dict({name: tensor[:keep] if name in twins else tensor for name, tensor in given.items()})
    return ServedModel(info, detectors, sha256="", device="cpu")


def with_other_channels(trained: Trained) -> ServedModel:
    """The forecasts of the two channels change places."""
    a = trained.model.info.architecture

    def swap(tensor: Tensor) -> Tensor:
        return tensor.reshape(a.horizons, a.channels, 2, -1).flip(1).reshape(tensor.shape)

    return changed(trained, "network.head.weight", "network.head.bias", by=swap)


def noise(tensor: Tensor) -> Tensor:
    return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(5)) * tensor.std()


def tables(*names: str) -> tuple[str, ...]:
    return tuple(f"table_{name}" for name in names or (*DETECTORS, "fused"))


FILES: dict[str, tuple[Callable[[Trained], Made], str]] = {
    "nothing": (lambda t: BadFile(b""), "truncated: .*0 bytes are not a whole"),
    "cut in the header": (lambda t: BadFile(t.payload[:500]), "truncated: .*500 bytes are not a whole"),
    "cut in half": (lambda t: BadFile(t.payload[: len(t.payload) // 2]), "truncated: .*not a whole safetensors file"),
    "its last byte missing": (lambda t: BadFile(t.payload[:-1]), "truncated: .*not a whole safetensors file"),
    "bytes after its end": (lambda t: BadFile(t.payload + b"\0" * 64), "truncated: .*not a whole safetensors file"),
    "an error page": (lambda t: BadFile(b"<html><body>404 Not Found</body></html>"), "truncated: .*not a whole"),
    "a pickle": (lambda t: BadFile(pickle.dumps({"weights": [1.0] * 100})), "truncated: .*not a whole"),
    "one bit other than announced": (
        lambda t: BadFile(t.payload[:-9] + bytes([t.payload[-9] ^ 1]) + t.payload[-8:], hashlib.sha256(t.payload).hexdigest()),
        "hash: .*sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}",
    ),
    "another file under its hash": (
        lambda t: BadFile(rewritten(t, seed=8).payload, hashlib.sha256(t.payload).hexdigest()),
        "hash: .*expected",
    ),
    "another program's tensors": (
        lambda t: BadFile(safetensors.torch.save({"x": torch.zeros(3)})),
        "shape: .*does not describe a version",
    ),
    "a header that is no JSON": (
        lambda t: BadFile(safetensors.torch.save(safetensors.torch.load(t.payload), metadata={"livetwin": "{"})),
        "shape: .*does not describe a version",
    ),
    "another schema": (lambda t: rewritten(t, schema=99), "shape: .*schema is 99, expected 1"),
    "no alarm threshold": (lambda t: rewritten(t, alarm_p=...), "shape: .*does not describe a version.*alarm_p"),
    "a field nobody knows": (lambda t: rewritten(t, mood="good"), "shape: .*does not describe a version.*mood"),
    "another contract": (lambda t: rewritten(t, contract="0" * 16), "contract: .*contract 0000000000000000, expected"),
    "channels in another order": (
        lambda t: rewritten(t, channels=["pressure", "flow"]),
        "contract: .*channels pressure, flow, expected flow, pressure in this order",
    ),
    "another type's channels": (lambda t: rewritten(t, channels=["speed", "heat"]), "contract: .*channels speed, heat, expected"),
    "another grid": (lambda t: rewritten(t, period_ns=10**9), "contract: .*steps of 1 s, expected 600 s"),
    "a twin named twice": (
        lambda t: rewritten(t, assets=["twin-0", "twin-0", "twin-2", "twin-3", "twin-4"]),
        "shape: .*1 of its 5 twins are named twice, expected each once",
    ),
    "fewer twins than tensors": (lambda t: rewritten(t, assets=["twin-0", "twin-1"]), "shape: .*names 2 twins, .*expect 5"),
    "trained from its end on": (
        lambda t: rewritten(t, trained_from_ns=2, trained_to_ns=1),
        "shape: .*trained from 2 to 1 ns, expected",
    ),
    "a target of no alarm": (
        lambda t: rewritten(t, alarms_per_twin_day=0.0),
        "non-finite: .*alarms_per_twin_day is 0.0, expected",
    ),
    "a threshold of none": (lambda t: rewritten(t, alarm_p=0.0), "non-finite: .*alarm_p is 0.0, expected between"),
    "a threshold that all steps pass": (lambda t: rewritten(t, alarm_p=0.9), "non-finite: .*alarm_p is 0.9, expected between"),
    "peaks of no size": (lambda t: rewritten(t, peak_size=0.0), "non-finite: .*peak_size is 0.0, expected between"),
    "a threshold that is no number": (lambda t: rewritten(t, alarm_p=float("nan")), "non-finite: .*alarm_p is nan, expected"),
    "a threshold that no step passes": (
        lambda t: rewritten(t, alarm_p=1e-300),
        "non-finite: .*alarm_p is 1e-300, expected between 1e-30",
    ),
    "other sizes than its tensors": (
        lambda t: rewritten(t, architecture=replace(t.model.info.architecture, hidden=64).as_dict()),
        "shape: .*do not fit its architecture",
    ),
    "a tensor missing": (lambda t: retensored(t, lambda all: all.__delitem__("basis")), "shape: .*basis"),
    "a tensor more": (lambda t: retensored(t, lambda all: all.__setitem__("x", torch.zeros(1))), 'shape: .*"x"'),
    "a tensor transposed": (
        lambda t: retensored(t, lambda all: all.__setitem__("loc", all["loc"].T.contiguous())),
        "shape: .*loc",
    ),
    "half precision": (
        lambda t: retensored(t, lambda all: all.update({name: one.half() for name, one in all.items()})),
        "shape: .*is torch.float16, expected torch.float32",
    ),
    "whole numbers": (
        lambda t: retensored(t, lambda all: all.__setitem__("loc", all["loc"].int())),
        "shape: .*loc is torch.int32, expected torch.float32",
    ),
    "weights that overflow": (
        lambda t: changed(t, "network.head.weight", by=lambda one: torch.full_like(one, 3e38)),
        "non-finite: .*warm-up gave values",
    ),
    "no spread": (lambda t: changed(t, "scale", by=torch.zeros_like), "shape: .*scale holds 10 values of 0 or less, expected"),
    "a negative spread": (lambda t: with_value(t, "scale", -1.0), "shape: .*scale holds 1 values of 0 or less"),
    "no usual step": (lambda t: with_value(t, "network.step", 0.0), "shape: .*network.step holds 1 values of 0 or less"),
    "tables that fall": (lambda t: changed(t, "table_shape", by=lambda one: one.flip(-1)), "shape: .*table_shape falls at"),
    "tables that nothing reaches": (
        lambda t: changed(t, *tables(), by=lambda one: one * 1e6),
        "blind: .*finds a step 10000 spreads off",
    ),
}

WEIGHTS: dict[str, tuple[Callable[[Trained], Made], str]] = {
    "forecasts three times as far": (
        lambda t: changed(t, "network.head.weight", by=lambda one: 3 * one),
        r"refused: loss \S+ against \S+ of the champion on the same",
    ),
    "a network nobody trained": (lambda t: rebuilt(t), "loss .* against"),
    "a head of noise": (lambda t: changed(t, "network.head.weight", by=noise), "loss .* against"),
    "a backbone of noise": (lambda t: changed(t, "network.join.weight", by=noise), "loss .* against"),
    "a backbone of zeros": (lambda t: changed(t, "network.join.weight", by=torch.zeros_like), "loss .* against"),
    "adapters of zeros": (
        lambda t: changed(t, "network.up", "network.bias", by=torch.zeros_like),
        "loss .* against .* of the champion",
    ),
    "adapters ten times as strong": (lambda t: changed(t, "network.up", by=lambda one: 10 * one), "loss .* against"),
    "twins shuffled": (
        lambda t: changed(t, *PER_TWIN, *(f"network.{name}" for name in PER_TWIN_NETWORK), by=lambda one: one.roll(1, dims=0)),
        "refused: ",
    ),
    "twins renamed": (lambda t: of_info(t, assets=t.model.info.assets[::-1]), "refused: "),
    "one twin's bias off": (
        lambda t: changed(t, "network.bias", by=lambda one: torch.cat([one[:1] + 3, one[1:]])),
        "refused: .*loss",
    ),
    "two twins forgotten": (
        lambda t: without_twins(t, 3),
        r"twin-steps that the champion scores stay unscored, 2% at most expected \(unknown to it: twin-3, twin-4\)",
    ),
    "channels' forecasts exchanged": (with_other_channels, "loss .* against"),
    "other units": (lambda t: changed(t, "loc", "scale", by=lambda one: 3.28 * one), "refused: "),
    "centres of another twin": (lambda t: changed(t, "loc", by=lambda one: one + 5), "refused: "),
    "sure of itself": (
        lambda t: changed(t, "network.head.bias", by=lambda one: one - torch.tensor([0.0, 2.0]).repeat(16)),
        "loss .* against",
    ),
    "unsure of itself": (
        lambda t: changed(t, "network.head.bias", by=lambda one: one + torch.tensor([0.0, 2.0]).repeat(16)),
        "loss .* against",
    ),
    "always in alarm": (lambda t: changed(t, *tables("fused"), by=lambda one: 0.2 * one), "alarms in .* at most expected"),
    "alarms by shape alone": (lambda t: changed(t, *tables("shape"), by=lambda one: 0.2 * one), "alarms in .* at most expected"),
    "a threshold of one in ten": (lambda t: of_info(t, alarm_p=0.1), "alarms in .* at most expected"),
    "never in alarm": (
        lambda t: changed(t, *tables("fused"), by=lambda one: 8 * one),
        "finds .* injected faults against .* of the champion, .* fewer are allowed",
    ),
    "tables ten times as wide": (
        lambda t: changed(t, *tables(), by=lambda one: 10 * one),
        "finds .* injected faults against",
    ),
    "a threshold hardly reached": (lambda t: of_info(t, alarm_p=1e-28), "finds .* injected faults against"),
    "components of noise": (lambda t: changed(t, "basis", by=noise), "refused: "),
    "the wrong base": (
        lambda t: of_info(t, base="0000-before"),
        "fine-tuned from 0000-before, expected .*, which serves",
    ),
    "learnt from the future": (
        lambda t: of_info(t, trained_to_ns=t.model.info.trained_to_ns + 10**18),
        "says to have learnt up to 20.*, the newest step is of 20",
    ),
    "slow": (lambda t: rebuilt(t, width=128, hidden=768), "ms for 64 rows against .* of the champion, 2 times as much"),
    "huge": (lambda t: rebuilt(t, rank=256), "MB against .* of the champion, .* MB at most expected"),
}

Poisoned = tuple[NDArray[np.float32], NDArray[np.uint8]]


def poisoned(block: StepBlock, kind: str) -> StepBlock:
    """The block with what comes before its hold-out spoilt; the hold-out is as it was."""
    random = np.random.default_rng(11)
    until = block.steps - int(block.steps * 0.15)
    values, quality = block.values.copy(), block.quality.copy()
    old = values[:, :until]
    match kind:
        case "a unit mistaken":
            old *= 3.28
        case "channels exchanged":
            old[:] = old[:, :, ::-1].copy()
        case "twins exchanged":
            old[:] = old[::-1].copy()
        case "shuffled in time":
            old[:] = old[:, random.permutation(until)]
        case "one in five readings anything":
            wild = random.random(old.shape) < 0.2
            old[wild] = random.normal(30, 30, int(wild.sum()))
        case "faults labelled normal":
            for twin in range(len(block.assets)):
                for begin in range(100, until - 40, 60):
                    old[twin, begin : begin + 30, random.integers(2)] += random.choice((-1, 1)) * random.uniform(10, 40)
        case "stuck for weeks":
            old[:, 100:] = old[:, 100:101]
        case "infinite readings":
            old[:, ::3] = np.inf
            old *= 10
        case _:
            raise ValueError(kind)
    return replace(block, values=values, quality=quality)


TRAININGS: dict[str, str] = {
    "a unit mistaken": "refused: ",
    "channels exchanged": "refused: ",
    "twins exchanged": "refused: ",
    "shuffled in time": "refused: ",
    "one in five readings anything": "refused: ",
    "faults labelled normal": "refused: .*finds .* injected faults against",
    "stuck for weeks": "refused: ",
    "infinite readings": "refused: ",
}
