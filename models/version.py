"""A version as one safetensors file: weights, scalers, components and tables of a type, and what they are in its header.

In:   a `ServedModel` to write; a path, and what is expected of it, to read.
Out:  the file and its sha256; a warmed-up `ServedModel`, or VersionRefused with the reason.

Writing goes to a temporary file that is synced and renamed: a reader sees the whole file or none.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from models import version_checks
from models.detectors import DETECTORS, Detectors
from models.fault_features import feature_count
from models.fault_file import NO_FAULTS, PREFIX, Faults
from models.passes import CHUNK
from models.port import VersionRefused
from models.served import SCHEMA, ServedModel, VersionInfo
from models.weight_sources import MOST_BYTES
from twin.types import TwinType

_HEADER_KEY = "livetwin"  # one key: safetensors keeps no order among several
_TRIES = 3


def encode(info: VersionInfo, detectors: Detectors, faults: Faults | None = None) -> bytes:
    """The bytes of a version file: same version, same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detectors.state_dict().items()}
    if faults is not None:
        tensors |= {name: torch.from_numpy(array.copy()) for name, array in faults.arrays().items()}
    info = replace(info, faults=faults.names if faults is not None else NO_FAULTS)
    header = {_HEADER_KEY: json.dumps(info.as_dict(), sort_keys=True, separators=(",", ":"))}
    return safetensors.torch.save(tensors, metadata=header)


def named(info: VersionInfo, detectors: Detectors, number: int, faults: Faults | None = None) -> VersionInfo:
    """The info with its version id: the number, for the order, and 8 digits of the content's hash, as in 0001-3fa94c1b."""
    digest = hashlib.sha256(encode(replace(info, version=""), detectors, faults)).hexdigest()
    return replace(info, version=f"{number:04d}-{digest[:8]}")


def save(model: ServedModel, path: Path) -> str:
    """Write the version file and return its sha256."""
    payload = encode(model.info, model.detectors, model.faults)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return hashlib.sha256(payload).hexdigest()


def header(path: Path) -> VersionInfo:
    """What a version file says of itself; its tensors are not read.

    Raises:
        OSError: it can't be read.
        KeyError, TypeError, ValueError: it is no version file.
    """
    with path.open("rb") as file:
        found = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return VersionInfo.from_dict(json.loads(found["__metadata__"][_HEADER_KEY]))


def load(
    path: Path,
    *,
    expect_sha256: str | None = None,
    expect_contract: str | None = None,
    device: str | None = None,
    slow_s: float = 2.0,
    expect_type: TwinType | None = None,
) -> ServedModel:
    """Read, check and warm up a version.

    Args:
        path: the version file.
        expect_sha256: hash of the whole file as announced; None: not checked.
        expect_contract: the tensor contract of the twin type here; None: not checked.
        device: torch device; None: CUDA where there is one, else the CPU.
        slow_s: a warm-up chunk after the first may take no longer.
        expect_type: the twin type here; None: not checked.

    Raises:
        VersionRefused: missing, size, truncated, hash, contract, shape, non-finite, slow, blind. Nothing that serves has changed.
    """
    try:
        payload = Path(path).read_bytes()
    except OSError as error:
        raise VersionRefused(
            "missing", f"version file {path} can't be read ({error.strerror}); the version before keeps serving"
        ) from error
    return decode(
        payload,
        origin=str(path),
        expect_sha256=expect_sha256,
        expect_contract=expect_contract,
        device=device,
        slow_s=slow_s,
        expect_type=expect_type,
    )


def decode(
    payload: bytes,
    *,
    origin: str = "bytes",
    expect_sha256: str | None = None,
    expect_contract: str | None = None,
    device: str | None = None,
    slow_s: float = 2.0,
    expect_type: TwinType | None = None,
    behaviour: bool = True,
) -> ServedModel:
    """`load` for bytes at hand; `origin` names them in messages.

    `behaviour` False: how fast it is and what it can tell is not asked: it has served before, or a gate will ask.
    """

    def refuse(reason: str, found: str) -> VersionRefused:
        return VersionRefused(reason, f"{origin} not served: {found}; the version before keeps serving")

    if len(payload) > MOST_BYTES:
        raise refuse("size", f"{len(payload)} bytes, {MOST_BYTES} at most expected")
    try:
        tensors = safetensors.torch.load(payload)
        header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise refuse("truncated", f"{len(payload)} bytes are not a whole safetensors file ({error})") from error
    sha256 = hashlib.sha256(payload).hexdigest()
    if expect_sha256 is not None and sha256 != expect_sha256:
        raise refuse("hash", f"sha256 is {sha256}, expected {expect_sha256}")
    try:
        found = json.loads(header["__metadata__"][_HEADER_KEY])
        if found.get("schema") != SCHEMA:
            raise refuse("shape", f"schema is {found.get('schema')}, expected {SCHEMA}")
        info = VersionInfo.from_dict(found)
    except (KeyError, TypeError, ValueError) as error:
        raise refuse("shape", f"its header does not describe a version ({error!r})") from error
    if expect_contract is not None and info.contract != expect_contract:
        raise refuse("contract", f"{info.version} was trained for contract {info.contract}, expected {expect_contract}")
    if expect_type is not None:
        version_checks.of_type(info, expect_type, origin=origin)
    version_checks.of_one_piece(info, origin=origin)
    detectors = Detectors(info.architecture, info.layout)
    tensors.setdefault("good_share", detectors.good_share)  # versions of before had none
    if not info.layout.prototypes:  # versions of before have no patterns, nor a word of them
        tensors = {name: tensors.get(name, getattr(detectors, name)) for name in ("prototypes", "table_pattern")} | tensors
    of_faults = {name: tensors.pop(name).numpy() for name in list(tensors) if name.startswith(PREFIX)}
    try:
        faults = Faults.from_arrays(info.faults, of_faults, feature_count(len(info.channels), len(DETECTORS)))
    except ValueError as error:
        raise refuse("shape", str(error)) from error
    try:
        detectors.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise refuse("shape", f"tensors of {info.name} {info.version} do not fit its architecture ({error})") from error
    version_checks.sound(info, tensors, detectors, origin=origin)
    model = ServedModel(info, detectors, sha256=sha256, device=device, faults=faults)
    _warm_up(model, refuse_after_s=slow_s if behaviour else math.inf, origin=origin)
    if behaviour:
        version_checks.sees_a_gross_fault(model, origin=origin)
    return model


def _warm_up(model: ServedModel, *, refuse_after_s: float, origin: str) -> None:
    """Score one full chunk: results must be finite, and after the first time come in time, in one of a few tries."""
    info = model.info
    rows = np.arange(CHUNK, dtype=np.int64) % len(info.assets)
    centre = model.detectors.loc.cpu().numpy()[rows][:, None, :]
    windows = np.repeat(centre, model.window, axis=1).astype(np.float32)
    times = np.full(CHUNK, info.trained_to_ns, np.int64)
    model.score(rows, windows, np.zeros(windows.shape, np.uint8), times)
    for _ in range(_TRIES):  # a machine that was asleep or busy for a moment says nothing about the version
        began = time.perf_counter()
        scores = model.score(rows, windows, np.zeros(windows.shape, np.uint8), times)
        took_s = time.perf_counter() - began
        if took_s <= refuse_after_s:
            break
    if not all(np.isfinite(part).all() for part in (scores.expected, scores.spread, scores.score, scores.p_value)):
        raise VersionRefused(
            "non-finite", f"{origin} not served: warm-up gave values that are not finite; the version before keeps serving"
        )
    if took_s > refuse_after_s:
        raise VersionRefused(
            "slow",
            f"{origin} not served: a chunk of {CHUNK} rows took {took_s:.3f} s, expected {refuse_after_s} s at most; "
            "the version before keeps serving",
        )
