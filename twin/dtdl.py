"""Read one DTDL interface (JSON, v3; v4 and v2 are read the same way): what it says by itself, and all that is wrong with it.

In:   an interface as JSON holds it.
Out:  `Interface`: its own contents and settings, references not followed yet; findings go to `Findings`.

DTDL has no words for a sampling period, lateness or limits, so they ride on a partner extension,
`dtmi:livetwin:extension:stream;1`: `samplingPeriod`, `lateness`, `maxAhead`, `onDelay`, `offDelay`, `silentAfter`
(ISO 8601 durations) on the interface, `minimum`, `maximum`, `lowLimit`, `highLimit`, `stuckAfter` (steps), `gapRule`,
`gapLimit` (steps), `spikeLimit` (units per step), `outOfRangeAfter`, `wrongUnitAfter` (steps, or null), `role` on a telemetry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin import dtdl_telemetry
from twin.dtdl_words import display_name, dtmi_fault, element_kinds, read_durations, unknown_words
from twin.findings import Findings, Words, pointer
from twin.types import STREAM_CONTEXT, Channel, PropertyTerm, RelationshipTerm

MOST_CONTENTS = 100_000
_DTDL = re.compile(r"^dtmi:dtdl:context;(\d+)(?:#.*)?$")
_READ = {"2", "3", "4"}
_NAME = re.compile(r"^[A-Za-z](?:[A-Za-z0-9_.:-]{0,511})$")
_STRICT_NAME = re.compile(r"^[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?$")
_KINDS = ("Telemetry", "Property", "Relationship", "Component", "Command")
_EXTENSIONS = ("dtmi:dtdl:extension:quantitativeTypes;", "dtmi:dtdl:extension:annotation;", STREAM_CONTEXT)
_OF_ALL = ("name", "comment", "description", "displayName")
_INTERFACE = (*_OF_ALL[1:], "contents", "extends", "schemas")
_OF_KIND = {
    "Telemetry": (*_OF_ALL, "schema", "unit", "annotates", *dtdl_telemetry.ANNOTATIONS),
    "Property": (*_OF_ALL, "schema", "unit", "annotates", "writable"),
    "Relationship": (*_OF_ALL, "target", "minMultiplicity", "maxMultiplicity", "properties", "writable"),
    "Component": (*_OF_ALL, "schema"),
    "Command": (*_OF_ALL, "request", "response", "commandType"),
}
DURATIONS = ("samplingPeriod", "lateness", "maxAhead", "onDelay", "offDelay", "silentAfter")


@dataclass(frozen=True, slots=True)
class Reference:
    """A name for another interface, and where it stands."""

    target: str
    pointer: str
    name: str = ""  # of the component


@dataclass(slots=True)
class Interface:
    """One interface, by itself. Keys of the dictionaries are names; `at` tells where each element stands."""

    id: str
    display_name: str
    version: int = 3
    channels: dict[str, Channel] = field(default_factory=dict)
    properties: dict[str, PropertyTerm] = field(default_factory=dict)
    relationships: dict[str, RelationshipTerm] = field(default_factory=dict)
    components: dict[str, Reference] = field(default_factory=dict)
    extends: list[Reference] = field(default_factory=list)
    at: dict[str, str] = field(default_factory=dict)
    durations_ns: dict[str, int | None] = field(default_factory=dict)


def read_interface(document: object, findings: Findings) -> Interface | None:
    """What an interface says. None when it can't even be named; then and else, see the findings."""
    if not isinstance(document, Mapping):
        findings.error("", document, "a DTDL interface, which is a JSON object")
        return None
    identifier = document.get("@id")
    if not isinstance(identifier, str) or dtmi_fault(identifier):
        findings.error("/@id", identifier, "a DTMI such as 'dtmi:plant:Pump;1'")
        return None
    findings.type = identifier
    if document.get("@type") not in ("Interface", ["Interface"]):
        findings.error("/@type", document.get("@type"), "'Interface'")
        return None
    found = Interface(identifier, display_name(document, findings, "") or identifier)
    found.version = _context(document.get("@context"), findings)
    found.durations_ns = read_durations(document, findings, DURATIONS)
    unknown_words(document, (*_INTERFACE, *DURATIONS), "", findings)
    for at, base in _references(document.get("extends"), "extends", findings):
        found.extends.append(Reference(base, at))
    contents = document.get("contents", [])
    if isinstance(contents, Mapping):
        contents = [contents]
    if not isinstance(contents, list):
        findings.error("/contents", contents, "a list of elements")
        return found
    if len(contents) > MOST_CONTENTS:
        findings.error("/contents", Words(f"{len(contents)} elements"), f"{MOST_CONTENTS} at most")
        return found
    for position, element in enumerate(contents):
        _element(found, element, document, pointer("contents", position), findings)
    _annotations(found, findings)
    return found


def _context(context: object, findings: Findings) -> int:
    """The version of DTDL."""
    if context is None:
        findings.note("/@context", Words("nothing"), "'dtmi:dtdl:context;3'; read as version 3")
        return 3
    version = 3
    words = [context] if isinstance(context, str) else context
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        findings.error("/@context", context, "'dtmi:dtdl:context;3', alone or in a list")
        return version
    versions = [(place, match[1]) for place, word in enumerate(words) if (match := _DTDL.match(word))]
    if not versions:
        findings.error("/@context", context, "'dtmi:dtdl:context;3' or 'dtmi:dtdl:context;4' among them")
    for place, found in versions:
        if found not in _READ:
            where = pointer("@context") if isinstance(context, str) else pointer("@context", place)
            findings.error(where, words[place], "version 3 or 4 of DTDL")
        else:
            version = int(found)
    for place, word in enumerate(words):
        if not _DTDL.match(word) and not word.startswith(_EXTENSIONS):
            findings.note(
                pointer("@context", place), word, "quantitativeTypes, annotation or stream; what is said in it is ignored"
            )
    return version


def _references(found: object, key: str, findings: Findings) -> list[tuple[str, str]]:
    """Pointers and identifiers; an interface given in place stands for its identifier."""
    many = found if isinstance(found, list) else [] if found is None else [found]
    out: list[tuple[str, str]] = []
    for place, one in enumerate(many):
        at = pointer(key, place) if isinstance(found, list) else pointer(key)
        identifier = one.get("@id") if isinstance(one, Mapping) else one
        if not isinstance(identifier, str) or dtmi_fault(identifier):
            findings.error(at, one, "the DTMI of an interface")
        else:
            out.append((at, identifier))
    return out


def _element(found: Interface, element: object, document: Mapping[str, Any], at: str, findings: Findings) -> None:
    if not isinstance(element, Mapping):
        findings.error(at, element, "an object such as a Telemetry")
        return
    kinds = element_kinds(element)
    kind = next((one for one in _KINDS if one in kinds), None)
    if kind is None:
        findings.error(f"{at}/@type", element.get("@type"), f"one of {', '.join(_KINDS)}")
        return
    name = element.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        findings.error(f"{at}/name", name, "letters, digits and '_', a letter first, 512 at most")
        return
    if not _STRICT_NAME.match(name):
        findings.note(f"{at}/name", name, "letters, digits and '_' only, as DTDL asks; used as it is")
    if name in found.at:
        findings.error(f"{at}/name", name, f"another name; it is that of {found.at[name]} already")
        return
    found.at[name] = at
    unknown_words(element, _OF_KIND[kind], at, findings)
    if kind == "Telemetry":
        channel = dtdl_telemetry.read_telemetry(name, element, kinds, document, at, findings)
        if channel is not None:
            found.channels[name] = channel
    elif kind == "Property":
        found.properties[name] = _property(name, element, kinds, document, at, findings)
    elif kind == "Relationship":
        found.relationships[name] = _relationship(name, element, document, at, findings)
    elif kind == "Component":
        for where, target in _references(element.get("schema"), "schema", findings)[:1]:
            found.components[name] = Reference(target, at + where, name)
        if element.get("schema") is None:
            findings.error(f"{at}/schema", Words("nothing"), "the DTMI of the component's interface")
    else:
        findings.note(at, Words(f"a Command, {name!r}"), "telemetry and the like; a twin is not commanded, so it is ignored")


def _property(
    name: str, element: Mapping[str, Any], kinds: tuple[str, ...], document: Mapping[str, Any], at: str, findings: Findings
) -> PropertyTerm:
    writable = element.get("writable", False)
    if not isinstance(writable, bool):
        findings.error(f"{at}/writable", writable, "true or false")
    unit, _ = dtdl_telemetry.read_unit(element, kinds, at, findings)
    annotates = element.get("annotates")
    return PropertyTerm(
        name=name,
        schema=dtdl_telemetry.property_schema(element.get("schema"), document, f"{at}/schema", findings),
        unit=unit,
        display_name=display_name(element, findings, at),
        writable=writable is True,
        annotates=annotates if isinstance(annotates, str) else None,
    )


def _relationship(
    name: str, element: Mapping[str, Any], document: Mapping[str, Any], at: str, findings: Findings
) -> RelationshipTerm:
    target = element.get("target")
    if target is not None and (not isinstance(target, str) or dtmi_fault(target)):
        findings.error(f"{at}/target", target, "the DTMI of an interface")
        target = None
    least, most = element.get("minMultiplicity", 0), element.get("maxMultiplicity")
    for key, number in (("minMultiplicity", least), ("maxMultiplicity", most)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 500):
            findings.error(f"{at}/{key}", number, "a whole number from 0 to 500")
            least, most = 0, None
    if most is not None and (most < 1 or most < least):
        findings.error(f"{at}/maxMultiplicity", most, f"at least 1, and not below minMultiplicity, which is {least}")
    terms: list[PropertyTerm] = []
    properties = element.get("properties", [])
    if not isinstance(properties, list):
        findings.error(f"{at}/properties", properties, "a list of Property")
        properties = []
    for place, one in enumerate(properties):
        where = at + pointer("properties", place)
        if not isinstance(one, Mapping) or "Property" not in element_kinds(one) or not isinstance(one.get("name"), str):
            findings.error(where, one, "a Property with a name")
        else:
            terms.append(_property(one["name"], one, element_kinds(one), document, where, findings))
    return RelationshipTerm(name, target, display_name(element, findings, at), least, most, tuple(terms))


def _annotations(found: Interface, findings: Findings) -> None:
    """A ValueAnnotation speaks of a sibling."""
    for name, term in found.properties.items():
        if term.annotates is not None and term.annotates not in {*found.channels, *found.properties}:
            siblings = ", ".join(sorted({*found.channels, *found.properties} - {name})) or "none"
            findings.error(
                f"{found.at[name]}/annotates", term.annotates, f"the name of a telemetry or property beside it: {siblings}"
            )
