"""Rounding: numbers are cut to a few digits before anyone compares them, so that batch shapes and a last bit decide nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 5
_LARGEST = 300  # decades away from one; a float32 is 45 at most
_UNITS = 10.0 ** np.arange(-_LARGEST, _LARGEST + 1).astype(np.float64)  # looked up: to compute one takes ten times as long


def rounded(x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """To DIGITS significant digits, float32.

    >>> rounded(np.array([123.45678, 0.0, -0.000123456789], np.float32)).tolist()
    [123.45999908447266, 0.0, -0.0001234600058523938]
    """
    wide = x.astype(np.float64)
    size = np.abs(wide)
    exponent = np.floor(np.log10(np.where((size > 0) & np.isfinite(size), size, 1.0))).astype(np.int64)
    unit = _UNITS.take(DIGITS - 1 - exponent + _LARGEST, mode="clip")
    return np.asarray(np.round(wide * unit) / unit, np.float32)
