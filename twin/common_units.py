"""Units that plants use every day: what they are in the base of their quantity, how else they are written, which are mixed up.

In:   nothing; the one table, exact fractions. All other units are left to pint (`twin.units`), whose import takes a second.
Out:  `COMMON`, units by name; `SPELLINGS`, what PLCs, OPC UA servers and SenML write → name.
A spelling is taken as it stands, capitals and all: MW is not mW. A turn a second is one hertz, as drives and encoders count.

Source of factors: NIST SP 811, Appendix B; of SenML's units: RFC 8428, section 12.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_INCH, _POUND = Fraction("0.0254"), Fraction("0.45359237")  # m, kg
_POUND_FORCE = _POUND * Fraction("9.80665")
_TURN_RAD = 2 * Fraction("3.14159265358979323846264338328")


@dataclass(frozen=True, slots=True)
class CommonUnit:
    """value in the base unit of `quantity` = value * factor + zero. `mixed_up`: taken for others of its quantity now and then."""

    quantity: str
    factor: Fraction
    zero: Fraction
    mixed_up: bool


# quantity → unit as DTDL has it, else as pint reads it: factor, zero, whether it is mixed up, spellings
_TABLE: dict[str, dict[str, tuple[Fraction | int | str, Fraction | int | str, bool, str]]] = {
    "pressure": {
        "bar": ("1e5", 0, True, "barg bar(g) bara bar(a)"),
        "poundPerSquareInch": (_POUND_FORCE / _INCH**2, 0, True, "psi psig psia PSI"),
        "kilopascal": (1000, 0, True, "kPa"),
        "pascal": (1, 0, True, "Pa"),
        "megapascal": (1_000_000, 0, True, "MPa"),
        "millibar": (100, 0, True, "mbar"),
        "hectopascal": (100, 0, False, "hPa"),
        "metreOfWater": ("9806.65", 0, True, "mH2O mWC mwc mCE"),
    },
    "temperature": {
        "degreeCelsius": (1, "273.15", True, "°C degC Cel ℃ celsius"),
        "degreeFahrenheit": (Fraction(5, 9), Fraction("459.67") * 5 / 9, True, "°F degF ℉ fahrenheit"),
        "kelvin": (1, 0, True, "K"),
    },
    "volume flow": {
        "litrePerSecond": ("1e-3", 0, True, "l/s L/s lps LPS"),
        "cubicMetrePerHour": (Fraction(1, 3600), 0, True, "m3/h m³/h m^3/h m**3/h cmh"),
        "litrePerMinute": (Fraction(1, 60_000), 0, True, "l/min L/min lpm LPM"),
        "litrePerHour": (Fraction(1, 3_600_000), 0, True, "l/h L/h lph LPH"),
        "gallonPerMinute": (231 * _INCH**3 / 60, 0, True, "gpm GPM gal/min"),
        "cubicMetrePerSecond": (1, 0, False, "m3/s m³/s m^3/s m**3/s"),
        "cubicMetrePerMinute": (Fraction(1, 60), 0, False, "m3/min m³/min m^3/min m**3/min"),
        "cubicFootPerMinute": ((12 * _INCH) ** 3 / 60, 0, False, "cfm CFM ft3/min"),
    },
    "volume": {
        "cubicMetre": (1, 0, False, "m3 m³ m^3 m**3"),
        "litre": ("1e-3", 0, False, "l L"),
        "gallon": (231 * _INCH**3, 0, False, "gal"),
    },
    "length": {
        "metre": (1, 0, True, "m"),
        "foot": (12 * _INCH, 0, True, "ft"),
        "centimetre": ("1e-2", 0, True, "cm"),
        "millimetre": ("1e-3", 0, True, "mm"),
        "inch": (_INCH, 0, True, "in"),
        "kilometre": (1000, 0, False, "km"),
    },
    "velocity": {
        "metrePerSecond": (1, 0, True, "m/s"),
        "kilometrePerHour": (Fraction(1000, 3600), 0, True, "km/h kph"),
        "milePerHour": (63_360 * _INCH / 3600, 0, True, "mph"),
        "foot/second": (12 * _INCH, 0, True, "ft/s fps"),
    },
    "power": {
        "watt": (1, 0, True, "W"),
        "kilowatt": (1000, 0, True, "kW"),
        "megawatt": (1_000_000, 0, True, "MW"),
        "horsepower": (550 * 12 * _INCH * _POUND_FORCE, 0, True, "hp HP"),
    },
    "energy": {
        "joule": (1, 0, False, "J"),
        "kilojoule": (1000, 0, False, "kJ"),
        "wattHour": (3600, 0, False, "Wh"),
        "kilowattHour": (3_600_000, 0, False, "kWh"),
        "megawattHour": (3_600_000_000, 0, False, "MWh"),
    },
    "share": {
        "unity": (1, 0, True, "1 /"),
        "percent": ("1e-2", 0, True, "% %RH"),
        "partsPerMillion": ("1e-6", 0, False, "ppm"),
    },
    "current": {"ampere": (1, 0, True, "A"), "milliampere": ("1e-3", 0, True, "mA")},
    "voltage": {"volt": (1, 0, True, "V"), "millivolt": ("1e-3", 0, True, "mV"), "kilovolt": (1000, 0, True, "kV")},
    "rotation": {
        "hertz": (1, 0, True, "Hz 1/s"),
        "revolutionPerMinute": (Fraction(1, 60), 0, True, "rpm RPM 1/min r/min"),
        "revolutionPerSecond": (1, 0, False, "rps"),
        "degreePerSecond": (Fraction(1, 360), 0, False, "°/s deg/s"),
        "radianPerSecond": (1 / _TURN_RAD, 0, False, "rad/s"),
    },
    "angle": {"radian": (1, 0, True, "rad"), "degreeOfArc": (_TURN_RAD / 360, 0, True, "° deg")},
    "mass": {"kilogram": (1, 0, False, "kg"), "gram": ("1e-3", 0, False, "g"), "tonne": (1000, 0, False, "t")},
    "mass flow": {
        "kilogramPerSecond": (1, 0, False, "kg/s"),
        "kilogramPerHour": (Fraction(1, 3600), 0, False, "kg/h"),
    },
    "time": {
        "second": (1, 0, False, "s"),
        "millisecond": ("1e-3", 0, False, "ms"),
        "minute": (60, 0, False, "min"),
        "hour": (3600, 0, False, "h hr"),
    },
    "torque": {"newtonMetre": (1, 0, False, "Nm N·m N*m")},
    "sound": {"decibel": (1, 0, False, "dB")},
}

COMMON: dict[str, CommonUnit] = {
    name: CommonUnit(quantity, Fraction(factor), Fraction(zero), mixed_up)
    for quantity, units in _TABLE.items()
    for name, (factor, zero, mixed_up, _) in units.items()
}
SPELLINGS: dict[str, str] = {
    spelling: name for units in _TABLE.values() for name, (_, _, _, spellings) in units.items() for spelling in spellings.split()
}


def canonical(unit: str) -> str:
    """The name of a unit that is written in a common way; other texts come back as they are.

    >>> canonical("°C"), canonical("m3/h"), canonical("furlong")
    ('degreeCelsius', 'cubicMetrePerHour', 'furlong')
    """
    return SPELLINGS.get(unit, unit)


def affine(source: str, target: str) -> tuple[float, float] | None:
    """(scale, offset): value in `target` = value in `source` * scale + offset; None: the table does not know both.

    >>> affine("degreeFahrenheit", "degreeCelsius")
    (0.5555555555555556, -17.77777777777778)
    """
    own, wanted = COMMON.get(source), COMMON.get(target)
    if own is None or wanted is None or own.quantity != wanted.quantity:
        return None
    return float(own.factor / wanted.factor), float((own.zero - wanted.zero) / wanted.factor)
