"""Read a telemetry of a DTDL interface into a channel: schema, unit, ranges, rules.

In:   an element of `contents`.
Out:  `Channel`, or None where its values are no numbers; what is wrong goes to `Findings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twin.dtdl_words import display_name, element_kinds, number, whole, word
from twin.findings import Findings, Words, pointer
from twin.quantities import SEMANTIC_TYPES
from twin.types import DEFAULT_GAP_LIMIT, DEFAULT_MARKED_AFTER, Channel, GapRule, Role
from twin.units import unit_fault

NUMERIC = frozenset({"boolean", "byte", "decimal", "double", "float", "integer", "long", "scaledDecimal", "short"}) | frozenset(
    {"unsignedByte", "unsignedInteger", "unsignedLong", "unsignedShort"}
)
TEXTUAL = frozenset({"bytes", "date", "dateTime", "duration", "string", "time", "uuid"})
COMPLEX = ("Object", "Array", "Map")
_ADJUNCTS = frozenset({"ValueAnnotation", "Historized", "Required", "Override"})  # understood, or harmless to a twin
ANNOTATIONS = frozenset({"minimum", "maximum", "lowLimit", "highLimit", "stuckAfter", "outOfRangeAfter", "wrongUnitAfter"}) | {
    "gapRule", "gapLimit", "spikeLimit", "role",
}  # fmt: skip
_MOST_WORDS = 1000  # of an enumeration
_MOST_MARKED = 32  # steps; twice as many but one are looked back upon, which a window holds


def read_telemetry(
    name: str, element: Mapping[str, Any], kinds: tuple[str, ...], document: Mapping[str, Any], at: str, findings: Findings
) -> Channel | None:
    """A channel. None: not numeric, or not usable (then there is an error)."""
    schema, codes = _schema(element.get("schema"), document, f"{at}/schema", findings)
    unit, semantic = read_unit(element, kinds, at, findings)
    low, high = number(element, "minimum", at, findings), number(element, "maximum", at, findings)
    if low is not None and high is not None and low >= high:
        findings.error(f"{at}/minimum", low, f"a number below maximum, which is {high:g}")
    low_limit, high_limit = number(element, "lowLimit", at, findings), number(element, "highLimit", at, findings)
    if low_limit is not None and high_limit is not None and low_limit >= high_limit:
        findings.error(f"{at}/lowLimit", low_limit, f"a number below highLimit, which is {high_limit:g}")
    if codes and low is None and high is None and len(codes) > 1:
        low, high = min(code for _, code in codes), max(code for _, code in codes)
    gap_limit = whole(element, "gapLimit", at, findings)
    channel = Channel(
        name=name,
        unit=unit,
        minimum=low,
        maximum=high,
        low_limit=low_limit,
        high_limit=high_limit,
        stuck_after=whole(element, "stuckAfter", at, findings, least=2),
        learns_stuck="stuckAfter" not in element,
        out_of_range_after=_marked_after(element, "outOfRangeAfter", at, findings),
        wrong_unit_after=_marked_after(element, "wrongUnitAfter", at, findings),
        gap_rule=word(element, "gapRule", GapRule, "hold", at, findings),
        gap_limit=DEFAULT_GAP_LIMIT if gap_limit is None else gap_limit,
        spike_limit=number(element, "spikeLimit", at, findings, least=0),
        role=word(element, "role", Role, "state" if codes else "sensor", at, findings),
        schema=schema or "double",
        semantic=semantic,
        display_name=display_name(element, findings, at),
        codes=codes,
    )
    if "ValueAnnotation" in kinds:
        findings.note(
            at, Words(f"a ValueAnnotation, {name!r}"), "readings of the process; what annotates them is no channel of the twin"
        )
        return None
    return channel if schema is not None else None


def _marked_after(element: Mapping[str, Any], key: str, at: str, findings: Findings) -> int | None:
    """Steps; null turns the alert off."""
    if element.get(key, DEFAULT_MARKED_AFTER) is None:
        return None
    found = whole(element, key, at, findings, least=1)
    if found is not None and found > _MOST_MARKED:
        findings.error(f"{at}/{key}", found, f"{_MOST_MARKED} steps at most, or null")
    return DEFAULT_MARKED_AFTER if found is None else found


def read_unit(element: Mapping[str, Any], kinds: tuple[str, ...], at: str, findings: Findings) -> tuple[str | None, str | None]:
    """Unit and semantic type."""
    semantic = [kind for kind in kinds if kind in SEMANTIC_TYPES]
    if len(semantic) > 1:
        findings.error(f"{at}/@type", Words(" and ".join(semantic)), "one semantic type at most")
    for kind in kinds:
        if kind not in SEMANTIC_TYPES and kind not in _ADJUNCTS and kind not in ("Telemetry", "Property", "Field"):
            findings.note(f"{at}/@type", kind, "a semantic type of QuantitativeTypes; ignored")
    unit = element.get("unit")
    if unit is None:
        return None, semantic[0] if semantic else None
    if not isinstance(unit, str):
        findings.error(f"{at}/unit", unit, "the name of a unit")
        return None, semantic[0] if semantic else None
    fault = unit_fault(unit, semantic[0] if semantic else None)
    if fault is not None:
        findings.error(f"{at}/unit", Words(fault[0]), fault[1])
    return unit, semantic[0] if semantic else None


def _schema(
    schema: object, document: Mapping[str, Any], at: str, findings: Findings
) -> tuple[str | None, tuple[tuple[str, float], ...]]:
    """Name of a numeric schema and, of an enumeration, its words; None where values are no numbers."""
    if schema is None:
        findings.error(at, Words("nothing"), "a numeric schema such as 'double', or an Enum")
        return None, ()
    if isinstance(schema, str):
        if (plain := _plain(schema)) in NUMERIC:
            return plain, ()
        if plain in TEXTUAL:
            findings.note(at, schema, "numbers, of which twins are made; readings of it go to dead-letter")
            return None, ()
        shared = _shared(schema, document)
        if shared is None:
            findings.error(at, schema, "a numeric schema such as 'double', or one of this interface's `schemas`")
            return None, ()
        schema = shared
    kinds = element_kinds(schema) if isinstance(schema, Mapping) else ()
    if isinstance(schema, Mapping) and "Enum" in kinds:
        return _enumeration(schema, at, findings)
    kind = next((one for one in COMPLEX if one in kinds), None)
    if kind is not None:
        way_out = "one telemetry a number, or a Component with them" if kind == "Object" else "one telemetry a number"
        findings.error(at, Words(f"schema {kind}"), f"a number or an Enum; {way_out}")
    else:
        findings.error(at, schema, "a numeric schema such as 'double', or an Enum")
    return None, ()


def _enumeration(schema: Mapping[str, Any], at: str, findings: Findings) -> tuple[str | None, tuple[tuple[str, float], ...]]:
    """Words become numbers: those of an integer enumeration are its own, those of a text one their place in the list."""
    of_text = schema.get("valueSchema") == "string"
    if not of_text and schema.get("valueSchema") != "integer":
        findings.error(f"{at}/valueSchema", schema.get("valueSchema"), "'integer' or 'string'")
        return None, ()
    values = schema.get("enumValues")
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_WORDS:
        findings.error(f"{at}/enumValues", values, f"a list of 1 to {_MOST_WORDS} values")
        return None, ()
    codes: dict[str, float] = {}
    for place, one in enumerate(values):
        where = at + pointer("enumValues", place)
        value, name = (one.get("enumValue"), one.get("name")) if isinstance(one, Mapping) else (None, None)
        if not isinstance(name, str) or not isinstance(value, str if of_text else int) or isinstance(value, bool):
            findings.error(where, one, f"a name, and an enumValue that is {'text' if of_text else 'a whole number'}")
            continue
        code = float(place) if of_text else float(value)
        text = str(value) if of_text else name
        if text in codes or code in codes.values():
            findings.error(where, value, "a name and a value that no other has")
        codes[text] = code
    return "integer", tuple(codes.items())


def property_schema(schema: object, document: Mapping[str, Any], at: str, findings: Findings) -> str:
    """Name of a property's schema; complex ones are kept as they come, as text."""
    if schema is None:
        findings.error(at, Words("nothing"), "a schema such as 'double' or 'string'")
    if isinstance(schema, str):
        if (plain := _plain(schema)) in NUMERIC | TEXTUAL:
            return plain
        if _shared(schema, document) is None:
            findings.error(at, schema, "a schema such as 'double' or 'string', or one of this interface's `schemas`")
    return "string"


def _plain(schema: str) -> str:
    """`dtmi:dtdl:instance:Schema:double;3` is `double`."""
    return schema.removeprefix("dtmi:dtdl:instance:Schema:").split(";")[0] if schema.startswith("dtmi:dtdl:") else schema


def _shared(schema: str, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    shared = document.get("schemas", [])
    shared = [shared] if isinstance(shared, Mapping) else shared if isinstance(shared, list) else []
    return next((one for one in shared if isinstance(one, Mapping) and one.get("@id") == schema), None)
