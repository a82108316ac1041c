"""Small fleets with a daily rhythm, windows of them, and scores as bytes: what the tests of this room share."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from models.detectors import Detectors
from models.port import Scores
from models.served import ServedModel
from models.structure import Structure, restructured
from models.windows import gather, padded
from twin.block import StepBlock
from twin.types import NS_PER_S, Channel, TwinType

PERIOD_NS = 600 * NS_PER_S


def rhythm(twins: int = 5, steps: int = 700, seed: int = 1, first_step: int = 2_900_000) -> StepBlock:
    """Two channels a twin: a daily wave, and one that follows it; both with noise."""
    random = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(steps) + first_step) / 144
    wave = np.stack([np.sin(angle + 0.5 * twin) for twin in range(twins)])
    flow = 20 + 5 * wave + 0.2 * random.standard_normal(wave.shape)
    pressure = 40 - 2 * wave + 0.1 * random.standard_normal(wave.shape)
    values = np.stack([flow, pressure], axis=2).astype(np.float32)
    assets = tuple(f"twin-{twin}" for twin in range(twins))
    return StepBlock(assets, ("flow", "pressure"), first_step, PERIOD_NS, values, np.zeros(values.shape, np.uint8))


def type_of(block: StepBlock, name: str = "rhythm") -> TwinType:
    """A type whose channels and grid are the block's."""
    channels = tuple(Channel(channel) for channel in block.channels)
    return TwinType(f"dtmi:livetwin:test:{name};1", name, channels, block.period_ns, 0, None, 0, 0)


Windows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def windows_of(model: ServedModel, block: StepBlock, count: int) -> Windows:
    random = np.random.default_rng(0)
    twins, steps = random.integers(len(block.assets), size=count), random.integers(100, block.steps, size=count)
    values, quality = padded(block, model.window)
    return (model.rows(block.assets)[twins], *gather(values, quality, twins, steps, model.window), block.time_ns()[steps])


def bits(scores: Scores) -> list[bytes]:
    return [getattr(scores, field.name).tobytes() for field in dataclasses.fields(scores)]


def reshaped(model: ServedModel, wanted: Structure) -> ServedModel:
    """The same version in another structure, not trained further; what it is announced by is up to the caller."""
    torch.manual_seed(5)
    network = restructured(model.detectors.network, wanted, lambda one: 0.0)
    info = dataclasses.replace(model.info, architecture=network.architecture)
    detectors = Detectors(info.architecture, info.layout)
    state = {name: tensor for name, tensor in model.detectors.state_dict().items() if not name.startswith("network.")}
    detectors.load_state_dict(state | {f"network.{name}": tensor for name, tensor in network.state_dict().items()})
    return ServedModel(info, detectors, sha256="", device="cpu")
