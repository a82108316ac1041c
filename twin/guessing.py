"""Guess what a channel is from its name and its values: unit, semantic type, role, range; and say how sure.

In:   a channel's name as its source writes it, its values in order of time, asset by asset.
Out:  `Guess`es. None of them is certain; a person reads them before a plant relies on them.
Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.common_units import SPELLINGS, canonical
from twin.quantities import DTDL_UNITS, SEMANTIC_TYPES, UNIT_TYPES
from twin.units import conversion, known

FEW = 20  # values from which on a sample says something
_BRACKETS = re.compile(r"[(\[{]\s*([^)\]}]+?)\s*[)\]}]\s*$")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[µ°%]+[A-Za-z]*")

# last word of a name → unit; those of one letter count only beside a word that fits
_LAST = {
    "c": "degreeCelsius", "degc": "degreeCelsius", "celsius": "degreeCelsius", "f": "degreeFahrenheit",
    "degf": "degreeFahrenheit", "fahrenheit": "degreeFahrenheit", "k": "kelvin", "kelvin": "kelvin",
    "bar": "bar", "mbar": "millibar", "hpa": "hectopascal", "kpa": "kilopascal", "pa": "pascal", "psi": "poundPerSquareInch",
    "lps": "litrePerSecond", "lpm": "litrePerMinute", "lph": "litrePerHour", "gpm": "gallonPerMinute", "m3h": "cubicMetrePerHour",
    "cmh": "cubicMetrePerHour", "cms": "cubicMetrePerSecond", "cfm": "cubicFootPerMinute",
    "rpm": "revolutionPerMinute", "hz": "hertz", "khz": "kilohertz", "w": "watt", "kw": "kilowatt", "mw": "megawatt",
    "kwh": "kilowattHour", "wh": "wattHour", "mwh": "megawattHour", "kvar": "kilovoltAmpereReactive", "kva": "kilovoltAmpere",
    "j": "joule", "kj": "kilojoule", "v": "volt", "kv": "kilovolt", "mv": "millivolt", "a": "ampere", "ma": "milliampere",
    "amps": "ampere", "volts": "volt", "watts": "watt", "ohm": "ohm",
    "pct": "percent", "percent": "percent", "ppm": "partsPerMillion", "ppb": "partsPerBillion",
    "mm": "millimetre", "cm": "centimetre", "m": "metre", "km": "kilometre", "ft": "foot", "inch": "inch",
    "mps": "metrePerSecond", "kmh": "kilometrePerHour", "kph": "kilometrePerHour", "mph": "milePerHour",
    "l": "litre", "litres": "litre", "liters": "litre", "ml": "millilitre", "m3": "cubicMetre", "gal": "gallon",
    "kg": "kilogram", "g": "gram", "nm": "newtonMetre", "n": "newton", "s": "second", "sec": "second", "ms": "millisecond",
    "min": "minute", "h": "hour", "hours": "hour", "lux": "lux", "db": "decibel", "deg": "degreeOfArc", "rad": "radian",
    "bytes": "byte", "kb": "kibibyte", "mb": "mebibyte", "gb": "gibibyte", "mib": "mebibyte", "bps": "bitPerSecond",
}  # fmt: skip
# word in a name → semantic type; a unit of it is surer, and a one-letter unit needs it
_ABOUT = {
    "temp": "Temperature", "temperature": "Temperature", "pressure": "Pressure", "press": "Pressure", "flow": "VolumeFlowRate",
    "level": "Length", "height": "Length", "depth": "Length", "distance": "Distance", "length": "Length", "head": "Length",
    "power": "Power", "energy": "Energy", "voltage": "Voltage", "volt": "Voltage", "current": "Current", "speed": "Velocity",
    "velocity": "Velocity", "rpm": "AngularVelocity", "frequency": "Frequency", "freq": "Frequency",
    "humidity": "RelativeHumidity",
    "volume": "Volume", "mass": "Mass", "weight": "Mass", "torque": "Torque", "force": "Force", "angle": "Angle",
    "illuminance": "Illuminance", "light": "Illuminance", "density": "Density", "concentration": "Concentration",
    "duration": "TimeSpan", "uptime": "TimeSpan", "runtime": "TimeSpan", "acceleration": "Acceleration",
    "resistance": "Resistance",
}  # fmt: skip
# what stands before another unit in one of two parts, as in l_s, m3/h, µS/cm; of the first line a rate is known
_RATED = frozenset({"l", "L", "m3", "ml", "gal", "ft3", "mm", "cm", "m", "km", "ft", "kg", "g"})
_PARTS = _RATED | {"bar", "mg", "ug", "µg", "us", "uS", "µS", "mS", "S", "kWh", "Wh", "kJ", "J", "N", "W", "bytes", "packets"}
_TIMES = {"s": "s", "sec": "s", "min": "min", "h": "h", "hr": "h"}
_SHORT = ("t", "c", "f", "k", "a", "v", "w", "m", "l", "g", "n", "s", "h", "j", "ms", "min", "deg", "nm", "mb", "mw")
_ACTUATOR = frozenset({"setpoint", "sp", "set", "cmd", "command", "target", "valve", "ref", "reference"}) | frozenset(
    {"actuator", "output", "drive", "damper"}
)
_STATE = frozenset({"state", "status", "mode", "on", "off", "open", "closed", "running", "enabled", "alarm", "fault", "flag"}) | {
    "active",
    "online",
}
_COUNTER = frozenset(["total", "count", "counter", "totalizer", "totaliser", "cumulative", "odometer", "cycles", "starts"])


@dataclass(frozen=True, slots=True)
class Guess:
    """`sure` from 0 (a shot in the dark) to 1."""

    what: str
    value: str | float
    sure: float
    why: str


def guess_unit(name: str) -> Guess | None:
    """The unit that a name speaks of.

    >>> guess_unit("Flow (l/s)").value, guess_unit("pressure_bar").value, guess_unit("tankLevelM").value, guess_unit("plan_c")
    ('litrePerSecond', 'bar', 'metre', None)
    """
    if (match := _BRACKETS.search(name)) and (unit := _dtdl_unit(match[1])) is not None:
        return Guess("unit", unit, 0.95, f"the name says {match[1]!r}")
    words = [word.lower() for word in _WORDS.findall(name)]
    about = next((_ABOUT[word] for word in words if word in _ABOUT), None)
    *_, first, last = ["", *re.split(r"[\s_]+", name.strip())]
    if not last.isalnum() and (unit := _written(last)) is not None:  # °C, %, m3/h
        return Guess("unit", unit, 0.9, f"the name ends in {last!r}")
    if first in _PARTS:  # the last word is half of a unit, and says nothing by itself
        whole = first + last if first == "bar" else f"{first}/{_TIMES.get(last, last)}"
        unit = _written(whole)
        return None if unit is None else Guess("unit", unit, 0.75, f"the name ends in {whole!r}")
    for count in (2, 1):  # "m 3", "m 3 h" are written with digits
        last = "".join(words[-count:])
        unit = _LAST.get(last)
        if unit is None or (len(words) <= count and last not in ("rpm",)):
            continue
        fits = about is not None and _of(unit, about)
        if fits:
            return Guess("unit", unit, 0.9, f"the name ends in {last!r} and speaks of {about}")
        if last not in _SHORT and about is None:
            return Guess("unit", unit, 0.75, f"the name ends in {last!r}")
    return None


def _written(text: str) -> str | None:
    """A unit that is written as plants do, or a rate of one; what pint makes of other texts with a stroke is mostly nonsense."""
    part, _, time = text.partition("/")
    return _dtdl_unit(text) if text in SPELLINGS or (part in _RATED and time in _TIMES) else None


def _of(unit: str, semantic: str) -> bool:
    """Whether a unit is one of a semantic type, or of another that people call the same: a speed may turn."""
    also = {"Velocity": "AngularVelocity", "VolumeFlowRate": "MassFlowRate", "Length": "Unitless", "Humidity": "Unitless"}.get(
        semantic
    )
    kinds = {SEMANTIC_TYPES[semantic]} | ({SEMANTIC_TYPES.get(also, also)} if also else set())
    return any(unit in UNIT_TYPES[kind] for kind in kinds)


def _dtdl_unit(text: str) -> str | None:
    """The extension's name for what pint reads, or pint's where it has none."""
    found = canonical({"C": "°C", "F": "°F"}.get(text.strip(), text.strip())).replace("³", "**3").replace("²", "**2")
    if found in DTDL_UNITS:
        return found
    if not known(found):
        return None
    for unit in sorted(DTDL_UNITS, key=lambda unit: (len(unit), unit)):
        try:
            if conversion(found, unit).identity:
                return unit
        except Exception:  # noqa: BLE001  of another kind
            continue
    return found


def guess_semantic(name: str, unit: str | None) -> str | None:
    """The semantic type: that of the unit where it has only one, else the one that the name speaks of.

    >>> guess_semantic("pressure_bar", "bar"), guess_semantic("level", "metre"), guess_semantic("x", "metre")
    ('Pressure', 'Length', None)
    """
    if unit is None:
        return None
    kinds = [kind for kind, unit_type in SEMANTIC_TYPES.items() if unit in UNIT_TYPES[unit_type]]
    about = [_ABOUT[word] for word in (word.lower() for word in _WORDS.findall(name)) if word in _ABOUT]
    return next((kind for kind in about if kind in kinds), kinds[0] if len(kinds) == 1 else None)


def guess_role(name: str, values: NDArray[np.float64], same_asset: NDArray[np.bool_], unit: str | None = None) -> Guess:
    """What the channel is to the asset.

    Args:
        values: in order of time, asset by asset; NaN where nothing came.
        same_asset: whether each value is of the asset of the one before.
        unit: that is known of it; what has one is measured, however few values it takes.

    >>> guess_role("pulses", np.arange(100.0), np.ones(100, bool)).value
    'counter'
    """
    words = {word.lower() for word in _WORDS.findall(name)}
    came = ~np.isnan(values)
    found, together = values[came], same_asset[came]
    distinct = np.unique(found[:100_000])
    enough = min(1.0, len(found) / (10 * FEW))
    if len(found) >= FEW:
        steps = np.diff(found)[together[1:]]
        moves = steps[steps != 0]
        rising = float((moves > 0).mean()) if len(moves) else 0.0
        named = bool(words & _COUNTER)
        if rising >= 0.98 and (named or (len(moves) >= FEW / 2 and not words & _ACTUATOR)):
            sure = (0.95 if named else 0.75) * enough * (1.0 if len(moves) >= FEW / 2 else 0.7)
            return Guess("role", "counter", round(sure, 2), f"{rising:.0%} of its changes go up")
    if words & _ACTUATOR:
        return Guess("role", "actuator", 0.7, f"the name speaks of {', '.join(sorted(words & _ACTUATOR))}")
    by_name = bool(words & _STATE)
    measured = unit is not None or bool(words & _ABOUT.keys())
    if len(found) and len(distinct) <= 8 and bool(np.all(distinct == np.round(distinct))) and (by_name or not measured):
        return Guess("role", "state", round((0.9 if by_name else 0.6) * enough, 2), f"{len(distinct)} different whole values")
    return Guess("role", "sensor", round(0.5 + 0.4 * enough, 2), "nothing says otherwise")


def guess_range(values: NDArray[np.float64], unit: str | None) -> tuple[Guess, Guess] | None:
    """What the sensor can say: a range as transmitters have, twice as far as what it said. What is outside is not scored,
    so a start-up or a trip that the sample does not have must lie within.

    >>> [one.value for one in guess_range(np.linspace(2, 4, 200), "bar")]
    [0.0, 8.0]
    >>> [one.value for one in guess_range(np.linspace(63, 67, 200), "degreeCelsius")]
    [-50.0, 150.0]
    """
    found = values[~np.isnan(values)]
    if len(found) < FEW:
        return None
    least, most = (float(one) for one in np.quantile(found, [0.0, 1.0]))
    if least == most:
        return None
    widest = 2 * max(abs(least), abs(most))
    low, high = (0.0 if least >= 0 else -_nice(widest)), _nice(widest)
    if least < 0 and -least < _NOISE * most:  # about nothing, as a flow that stands still
        low = -_nice(-2 * least)
    if unit in _COLDEST:  # nothing is no end of these scales
        low = _COLDEST[unit] if least > _COLDEST[unit] else -_nice(2 * abs(least))
        high = max(high, -_COLDEST[unit])
    if unit == "percent" and least >= 0 and most <= 100:
        low, high = 0.0, 100.0
    sure = round(0.6 * len(found) / (len(found) + 500), 2)
    why = f"{len(found)} values from {least:g} to {most:g}, and twice as far"
    return Guess("minimum", low, sure, why), Guess("maximum", high, sure, why)


_NOISE = 0.05
_COLDEST = {"degreeCelsius": -50.0, "degreeFahrenheit": -50.0}
_NICE = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def _nice(value: float) -> float:
    """The next end of a scale that people choose.

    >>> _nice(27.7), _nice(0.003), _nice(130)
    (30.0, 0.003, 150.0)
    """
    size = 10.0 ** np.floor(np.log10(value))
    return float(f"{next(step for step in _NICE if step * size >= value * (1 - 1e-9)) * size:.3g}")
