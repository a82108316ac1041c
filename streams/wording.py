"""Numbers, units and stretches of time as people read them: on the page and in what an alert says.

Pure.
"""

from __future__ import annotations

import math
from typing import Final


def number(value: float | None, digits: int = 4) -> str:
    """A value for reading: four significant digits, no exponent for everyday sizes.

    >>> number(1234.567), number(0.012345), number(None), number(-12.0), number(3.2e9)
    ('1,235', '0.01235', '–', '−12', '3.2e+09')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits}g}".replace("-", "−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


_UNITS: Final = {
    "ampere": "A",
    "byte": "B",
    "bytePerSecond": "B/s",
    "cubicMetrePerHour": "m³/h",
    "cubicMetrePerSecond": "m³/s",
    "degreeCelsius": "°C",
    "hertz": "Hz",
    "kilowatt": "kW",
    "kilowattHour": "kWh",
    "litrePerSecond": "L/s",
    "mebibyte": "MiB",
    "metre": "m",
    "metrePerSecond": "m/s",
    "pascal": "Pa",
    "percent": "%",
    "revolutionPerMinute": "rpm",
    "unity": "",
    "volt": "V",
    "watt": "W",
}


def unit(name: str | None) -> str:
    """A DTDL unit, short.

    >>> unit("litrePerSecond"), unit("furlong"), unit(None)
    ('L/s', 'furlong', '')
    """
    return "" if not name else _UNITS.get(name, name)


def duration(span_ns: int) -> str:
    """A stretch of time, roughly.

    >>> duration(90 * 10**9), duration(26 * 3600 * 10**9), duration(5 * 10**9)
    ('1 min 30 s', '1 d 2 h', '5 s')
    """
    seconds = max(0, span_ns // 10**9)
    parts = []
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            parts.append(f"{seconds // size} {name}")
            seconds %= size
    return " ".join(parts[:2]) or "0 s"
