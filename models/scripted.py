"""Branches of a pass that depend on what its tensors hold: kept in a recording as branches, not as what one example took."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

_T = TypeVar("_T")


def either(function: Callable[..., _T]) -> Callable[..., _T]:
    """The function, or while a recording is made, what TorchScript makes of its source: what a recording can't tell by itself."""
    return _script(function) if torch.jit.is_tracing() else function  # type: ignore[attr-defined, no-untyped-call]


@functools.cache
def _script(function: Callable[..., _T]) -> Callable[..., _T]:
    script: Callable[..., _T] = torch.jit.script(function)
    return script


def forget() -> None:
    """Before the interpreter's compiled code is: a recording to come compiles anew."""
    _script.cache_clear()
