"""Units: every unit of DTDL's extension is one to pint too, and conversions are those of the handbooks."""

from __future__ import annotations

import pytest

from twin.errors import UnitUnusable
from twin.quantities import SEMANTIC_TYPES, UNIT_TYPES
from twin.units import conversion, known


def test_units_of_one_unit_type_convert_into_each_other() -> None:
    """Of sievert and gray too: pint counts both as energy a mass. Decibel is taken for itself."""
    for units in UNIT_TYPES.values():
        for unit in units:
            conversion(unit, min(units))


def test_every_semantic_type_has_a_unit_type() -> None:
    assert set(SEMANTIC_TYPES.values()) <= set(UNIT_TYPES)
    assert len(SEMANTIC_TYPES) == 52


# value, unit → value, unit; from NIST SP 811 and the definitions of the units
HANDBOOK = [
    (100.0, "degreeCelsius", 212.0, "degreeFahrenheit"),
    (-40.0, "degreeFahrenheit", -40.0, "degreeCelsius"),
    (0.0, "degreeCelsius", 273.15, "kelvin"),
    (0.0, "kelvin", -459.67, "degF"),
    (1.0, "poundPerSquareInch", 6.894757293168, "kilopascal"),
    (1.0, "psi", 0.06894757293168, "bar"),
    (1.0, "inchesOfMercury", 3386.389, "pascal"),
    (1.0, "pound", 4.4482216152605, "newton"),
    (1.0, "massPound", 0.45359237, "kilogram"),
    (60.0, "litrePerMinute", 1.0, "litrePerSecond"),
    (1.0, "cubicMetrePerHour", 1000 / 3600, "litrePerSecond"),
    (50.0, "percent", 0.5, "unity"),
    (1.0, "tonOfRefrigeration", 3516.85284, "watt"),
    (1.0, "knot", 1852 / 3600, "metrePerSecond"),
    (1.0, "kilovoltAmpereReactive", 1000.0, "voltAmpereReactive"),
    (1.0, "gauss", 1e-4, "tesla"),
    (1.0, "revolutionPerMinute", 6.0, "degreePerSecond"),
    (1.0, "mebibyte", 1048576.0, "byte"),
    (1.0, "kiloBritishThermalUnit", 1055055.85262, "joule"),
]


@pytest.mark.parametrize(("value", "source", "expected", "target"), HANDBOOK)
def test_conversions_are_those_of_the_handbook(value: float, source: str, expected: float, target: str) -> None:
    found = conversion(source, target)
    assert value * found.scale + found.offset == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "unit",
    ["", "furlongs per fortnite", "9**9**9**9", "metre**99", "m" * 65, "1000", "__import__('os')", "metre; second", "µ\n"],
)
def test_what_is_no_unit_is_refused_at_once(unit: str) -> None:
    assert not known(unit)
    with pytest.raises(UnitUnusable):
        conversion(unit, "metre")


def test_units_of_different_things_do_not_convert() -> None:
    with pytest.raises(UnitUnusable, match="expected one that converts to 'litrePerSecond'"):
        conversion("bar", "litrePerSecond")
