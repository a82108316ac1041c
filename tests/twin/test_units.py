"""Units: every unit of DTDL's extension is one to pint too, and conversions are those of the handbooks."""

from __future__ import annotations

import subprocess
import sys

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


def test_the_table_of_common_units_says_what_pint_says() -> None:
    """But for hertz, of which pint has 2 pi in a turn a second; drives and encoders have one."""
    from twin.common_units import COMMON, affine
    from twin.units import by_pint

    for source, own in COMMON.items():
        for target, other in COMMON.items():
            same, hertz = own.quantity == other.quantity, "hertz" in (source, target)
            assert (affine(source, target) is not None) == same
            if not same or (hertz and source != target):
                continue
            found = by_pint(source, target)
            assert affine(source, target) == (pytest.approx(found.scale, rel=1e-15), pytest.approx(found.offset, rel=1e-15))
    assert affine("hertz", "revolutionPerMinute") == (60.0, 0.0)


def test_every_spelling_stands_for_a_unit_of_the_table_or_for_itself() -> None:
    from twin.common_units import COMMON, SPELLINGS

    assert set(SPELLINGS.values()) <= set(COMMON)
    assert not set(SPELLINGS) & set(COMMON)
    assert not set(SPELLINGS) & set().union(*UNIT_TYPES.values())
    for spelling in SPELLINGS:
        assert known(spelling)


def test_common_units_need_no_pint() -> None:
    """It takes a second to import: no process pays for it that does not have to."""
    code = (
        "import sys; from twin.units import conversion, known, unit_fault; from twin.unit_mistakes import conversions_back\n"
        "assert conversion('°F', 'degreeCelsius').scale == 5 / 9 and known('m3/h') and not unit_fault('psi', None)\n"
        "assert len(conversions_back('bar')) == 6 and 'pint' not in sys.modules\n"
        "assert conversion('furlong', 'metre').scale > 201 and 'pint' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
