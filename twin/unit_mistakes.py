"""Units that are taken for one another: what a number in a channel's unit would have been had it come in another unit.

In:   a channel's unit, as DTDL's quantitative types name it or as a plant abbreviates it.
Out:  affine conversions back: value in the channel's unit = number that came * scale + offset.
Pure: no clock, no I/O. The table holds pairs that are mixed up in practice, not all units there are.
"""

from __future__ import annotations

# by quantity: unit → (spellings, factor, zero) with base = number * factor + zero
_QUANTITIES: tuple[dict[str, tuple[tuple[str, ...], float, float]], ...] = (
    {  # pressure, Pa
        "bar": (("bar", "barg"), 1e5, 0.0),
        "psi": (("psi", "psig", "poundpersquareinch"), 6894.757293168, 0.0),
        "kPa": (("kpa", "kilopascal"), 1e3, 0.0),
        "Pa": (("pa", "pascal"), 1.0, 0.0),
        "MPa": (("mpa", "megapascal"), 1e6, 0.0),
        "mbar": (("mbar", "millibar", "hpa"), 1e2, 0.0),
        "mH2O": (("mh2o", "mwc", "metreofwater"), 9806.65, 0.0),
    },
    {  # temperature, K
        "degC": (("degc", "°c", "c", "degreecelsius", "celsius"), 1.0, 273.15),
        "degF": (("degf", "°f", "f", "degreefahrenheit", "fahrenheit"), 5 / 9, 273.15 - 32 * 5 / 9),
        "K": (("k", "kelvin"), 1.0, 0.0),
    },
    {  # volume flow, m³/s
        "l/s": (("l/s", "lps", "litrepersecond", "literpersecond"), 1e-3, 0.0),
        "m3/h": (("m3/h", "m³/h", "m3h", "cmh", "cubicmetreperhour", "cubicmeterperhour"), 1 / 3600, 0.0),
        "l/min": (("l/min", "lpm", "litreperminute", "literperminute"), 1e-3 / 60, 0.0),
        "l/h": (("l/h", "lph", "litreperhour", "literperhour"), 1e-3 / 3600, 0.0),
        "gpm": (("gpm", "gal/min", "gallonperminute"), 6.30901964e-5, 0.0),
    },
    {  # length, m
        "m": (("m", "metre", "meter"), 1.0, 0.0),
        "ft": (("ft", "foot", "feet"), 0.3048, 0.0),
        "cm": (("cm", "centimetre", "centimeter"), 1e-2, 0.0),
        "mm": (("mm", "millimetre", "millimeter"), 1e-3, 0.0),
        "in": (("in", "inch"), 0.0254, 0.0),
    },
    {  # velocity, m/s
        "m/s": (("m/s", "metrepersecond", "meterpersecond"), 1.0, 0.0),
        "km/h": (("km/h", "kmh", "kph", "kilometreperhour", "kilometerperhour"), 1 / 3.6, 0.0),
        "mph": (("mph", "mileperhour"), 0.44704, 0.0),
        "ft/s": (("ft/s", "fps", "footpersecond"), 0.3048, 0.0),
    },
    {  # power, W
        "W": (("w", "watt"), 1.0, 0.0),
        "kW": (("kw", "kilowatt"), 1e3, 0.0),
        "MW": (("mw", "megawatt"), 1e6, 0.0),
        "hp": (("hp", "horsepower"), 745.6998715822702, 0.0),
    },
    {  # share
        "1": (("1", "unity"), 1.0, 0.0),
        "%": (("%", "percent"), 1e-2, 0.0),
    },
    {  # current, A
        "A": (("a", "ampere", "amp"), 1.0, 0.0),
        "mA": (("ma", "milliampere"), 1e-3, 0.0),
    },
    {  # voltage, V
        "V": (("v", "volt"), 1.0, 0.0),
        "mV": (("mv", "millivolt"), 1e-3, 0.0),
        "kV": (("kv", "kilovolt"), 1e3, 0.0),
    },
    {  # rotation, 1/s
        "Hz": (("hz", "hertz"), 1.0, 0.0),
        "rpm": (("rpm", "revolutionperminute"), 1 / 60, 0.0),
    },
    {  # angle, rad
        "rad": (("rad", "radian"), 1.0, 0.0),
        "deg": (("deg", "°", "degreeofarc"), 0.017453292519943295, 0.0),
    },
)
_UNITS = {
    spelling: (quantity, unit)
    for quantity, units in enumerate(_QUANTITIES)
    for unit, (spellings, _, _) in units.items()
    for spelling in spellings
}


def conversions_back(unit: str | None) -> tuple[tuple[float, float], ...]:
    """(scale, offset) for each unit that `unit` is taken for: value = number that came * scale + offset.

    >>> [round(100 * scale + offset, 3) for scale, offset in conversions_back("degreeCelsius")]
    [37.778, -173.15]
    >>> conversions_back("furlong"), conversions_back(None)
    ((), ())
    """
    quantity, own = _UNITS.get((unit or "").strip().lower(), (-1, ""))
    if quantity < 0:
        return ()
    units = _QUANTITIES[quantity]
    _, factor, zero = units[own]
    return tuple(
        (other_factor / factor, (other_zero - zero) / factor)
        for name, (_, other_factor, other_zero) in units.items()
        if name != own
    )
