"""Units: whether a word names one, and how a reading in one unit becomes one in another.

In:   names of DTDL's QuantitativeTypes extension, what plants write ("°C", "m3/h"), or what pint reads ("furlong", "l/min").
Out:  `Conversion`: scale and offset, exact for offset units such as degrees Celsius.
Pure: common units convert by a table (`twin.common_units`); pint is imported when another comes, which takes a second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

from twin.common_units import COMMON, affine, canonical
from twin.errors import UnitUnusable
from twin.quantities import DTDL_UNITS, SEMANTIC_TYPES, UNIT_TYPES, pint_expression

_EXPECTED = "a unit of DTDL's QuantitativeTypes such as 'kilopascal', a common spelling such as '°C', or one that pint reads"


@dataclass(frozen=True, slots=True)
class Conversion:
    """value in the target unit = value * scale + offset."""

    scale: float = 1.0
    offset: float = 0.0

    @property
    def identity(self) -> bool:
        return self.scale == 1.0 and self.offset == 0.0


# names, each with an exponent of one digit at most, multiplied or divided: a unit is text from outside, pint would evaluate more
_NAME = r"[A-Za-zµμ°Ω%][A-Za-z0-9_µμ°Ω%]*(?:\s*(?:\*\*|\^)\s*-?[1-9](?![0-9]))?"
_UNIT_TEXT = re.compile(rf"{_NAME}(?:\s*[*/·]\s*{_NAME}|\s+{_NAME})*")
MOST_CHARACTERS = 64


@cache
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None, non_int_type=Decimal)


@lru_cache(maxsize=4096)
def _quantity(unit: str) -> Any:
    """One of a unit, as pint holds it. Raises UnitUnusable."""
    registry = _registry()
    unit = canonical(unit)
    expression = pint_expression(unit)
    try:
        if unit not in DTDL_UNITS and unit not in COMMON and (len(unit) > MOST_CHARACTERS or not _UNIT_TEXT.fullmatch(unit)):
            raise ValueError(f"{unit[:MOST_CHARACTERS]!r} is no product of unit names")
        try:
            return registry.Quantity(Decimal(1), registry.Unit(expression))
        except ValueError:  # a product with a number is a quantity to pint
            found = registry.parse_expression(expression)
            return found if isinstance(found, registry.Quantity) else registry.Quantity(found, "dimensionless")
    except Exception as error:
        raise UnitUnusable(f"unit {unit[:MOST_CHARACTERS]!r} is not known, expected {_EXPECTED}") from error


def known(unit: str) -> bool:
    """Whether a word names a unit.

    >>> known("litrePerSecond"), known("psi"), known("furlongs per fortnite")
    (True, True, False)
    """
    if canonical(unit) in COMMON:
        return True
    try:
        return _quantity(unit) is not None
    except UnitUnusable:
        return False


@lru_cache(maxsize=4096)
def conversion(source: str, target: str) -> Conversion:
    """How values in `source` become values in `target`.

    Raises:
        UnitUnusable: one is not known, or they measure different things.

    >>> conversion("degreeFahrenheit", "degreeCelsius")
    Conversion(scale=0.5555555555555556, offset=-17.77777777777778)
    >>> conversion("gallonPerMinute", "litrePerSecond").scale
    0.0630901964
    """
    common = affine(canonical(source), canonical(target))
    return Conversion(*common) if common is not None else by_pint(source, target)


def by_pint(source: str, target: str) -> Conversion:
    """`conversion` as pint has it, whatever the table says. Raises UnitUnusable."""
    own, wanted = _quantity(source), _quantity(target)
    if source == target:
        return Conversion()
    if not own.is_compatible_with(wanted):
        raise UnitUnusable(
            f"unit {source!r} measures {own.dimensionality}, expected one that converts to {target!r}, "
            f"which measures {wanted.dimensionality}"
        )
    registry = _registry()

    def converted(value: int) -> Decimal:
        """In decimals, so that a detour over kelvin leaves no noise."""
        raised: Decimal = registry.Quantity(value * own.magnitude, own.units).to(wanted.units).magnitude
        return raised / Decimal(wanted.magnitude)

    zero = converted(0)
    return Conversion(_float(converted(1) - zero), _float(zero))


def _float(value: Decimal) -> float:
    return float(f"{value:.20g}") if abs(value) > Decimal("1e-20") else 0.0


def unit_fault(unit: str, semantic: str | None) -> tuple[str, str] | None:
    """What is wrong with a unit under a semantic type: (found, expected); None: nothing.

    >>> unit_fault("bar", "Temperature")
    ("'bar'", 'a unit of Temperature: degreeCelsius, degreeFahrenheit, kelvin')
    """
    if semantic is not None and (kind := SEMANTIC_TYPES.get(semantic)) is not None:
        if unit not in UNIT_TYPES[kind]:
            return repr(unit), f"a unit of {semantic}: {', '.join(sorted(UNIT_TYPES[kind]))}"
        return None
    if unit not in DTDL_UNITS and not known(unit):
        return repr(unit), _EXPECTED
    return None
