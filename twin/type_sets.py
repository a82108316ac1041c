"""Sets of DTDL interfaces that refer to each other: what each inherits, contains, and is when compiled.

In:   interfaces as JSON holds them, from one or many files.
Out:  `TypeSet`: compiled types by identifier, and every finding.

`extends` brings the contents of the bases, and their settings where the type has none of its own. A component's channels and
properties stand in the type as `component.channel`. Interfaces without a numeric telemetry are bases or components, no types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twin.dtdl import Interface, read_interface
from twin.errors import TypeInvalid
from twin.findings import Finding, Findings, Words, listed, shown
from twin.type_references import DEEPEST, MOST_BASES, needed, needs, with_nested
from twin.types import NS_PER_S, Channel, PropertyTerm, RelationshipTerm, TwinType

DEEPEST_COMPONENT = 4
RESERVED = frozenset({"asset", "time"})  # keys of a telemetry record
MOST_CHANNELS = 4096
NOT_USED = "the type is not used"


@dataclass(slots=True)
class TypeSet:
    """What came of a set. Types with an error are not among `types`."""

    types: dict[str, TwinType] = field(default_factory=dict)
    interfaces: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        return [one for one in self.findings if one.level == "error"]


def compile_set(documents: Iterable[tuple[str | None, object]]) -> TypeSet:
    """Compile files of one or several interfaces each: (name of the file, what JSON holds)."""
    out = TypeSet()
    read: dict[str, tuple[Interface, Findings]] = {}
    for file, document in documents:
        for place, one in enumerate(document if isinstance(document, list) else [document]):
            for interface in with_nested(one):
                findings = Findings(f"interface {place} of the list" if isinstance(document, list) else "?", file)
                found = read_interface(interface, findings)
                if found is not None and found.id in read and out.interfaces[found.id] != interface:
                    findings.error("/@id", found.id, f"another identifier; it is taken{_by(read[found.id][1])}")
                elif found is not None:
                    read[found.id] = found, findings
                    out.interfaces[found.id] = interface if isinstance(interface, Mapping) else {}
                    continue
                out.findings += findings
    compiler = _Compiler({identifier: interface for identifier, (interface, _) in read.items()})
    for identifier, (interface, findings) in read.items():
        compiled = compiler.compile(interface, findings)
        if compiled is not None and not findings.errors:
            out.types[identifier] = compiled
        out.findings += findings
    return out


@dataclass(frozen=True, slots=True)
class Compiled:
    """What came of one interface among others. No type, nothing missing, nothing faulty: a base or a component only."""

    type: TwinType | None
    missing: frozenset[str]  # interfaces that it needs and that are not there
    faulty: bool  # whether something is wrong beside what is missing
    message: str


def compile_among(identifier: str, interfaces: Mapping[str, Mapping[str, Any]]) -> Compiled:
    """One interface of a collection that others may still join."""
    document = interfaces[identifier]
    closure = needed(document, interfaces)
    there = {one.get("@id") for whole in (document, *closure) for one in with_nested(whole) if isinstance(one, Mapping)}
    missing = frozenset(name for whole in (document, *closure) for one in with_nested(whole) for name in needs(one)) - there
    found = compile_set([(None, document), *((None, one) for one in closure)])
    faults = [one for one in found.errors if one.type in (identifier, "?") or one.pointer == "/@id"]
    alone = [one for one in faults if not any(repr(name) in one.found for name in missing)]
    return Compiled(found.types.get(identifier), frozenset(str(one) for one in missing), bool(alone), listed(faults, NOT_USED))


def compile_one(document: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> TwinType:
    """See `twin.types.compile_type`."""
    if not isinstance(document, Mapping):
        raise TypeInvalid(f"found {shown(document)}, expected a DTDL interface, which is a JSON object; {NOT_USED}")
    identifier = document.get("@id")
    found = compile_set([(None, document), *((None, one) for one in needed(document, others))])
    compiled = found.types.get(identifier) if isinstance(identifier, str) else None
    if compiled is None:
        own = [one for one in found.errors if one.type in (identifier, "?")] or found.errors
        raise TypeInvalid(listed(own or [one for one in found.findings if one.type == identifier], NOT_USED))
    return compiled


def _by(other: Findings) -> str:
    return f" by another interface in {other.file}" if other.file else " by another interface"


@dataclass(slots=True)
class _Contents:
    """What an interface holds with all that it inherits; values name where each came from."""

    channels: dict[str, tuple[str, Channel]] = field(default_factory=dict)
    properties: dict[str, tuple[str, PropertyTerm]] = field(default_factory=dict)
    relationships: dict[str, tuple[str, RelationshipTerm]] = field(default_factory=dict)
    components: dict[str, tuple[str, str]] = field(default_factory=dict)  # name → interface
    durations_ns: dict[str, int | None] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)


class _Compiler:
    def __init__(self, interfaces: Mapping[str, Interface]) -> None:
        self._interfaces = interfaces

    def compile(self, interface: Interface, findings: Findings) -> TwinType | None:
        before = len(findings.errors)
        contents = self._inherited(interface, findings)
        if len(findings.errors) > before:
            return None
        channels = [channel for _, channel in contents.channels.values()]
        properties = [term for _, term in contents.properties.values()]
        for name, (owner, target) in contents.components.items():
            where = interface.components[name].pointer if name in interface.components else f"/extends ({owner})"
            more, terms = self._component(name, target, where, findings, (interface.id,))
            channels += more
            properties += terms
        names = [channel.name for channel in channels]
        for name in RESERVED & set(names):
            findings.note("/contents", name, f"another name: {name!r} of a record is no channel, so no reading of it can come")
        for name in sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else ():
            findings.error("/contents", name, "each channel once, components' channels among them")
        if len(channels) > MOST_CHANNELS:
            findings.error("/contents", Words(f"{len(channels)} channels"), f"{MOST_CHANNELS} at most")
        if not channels:
            findings.note(
                "/contents", Words("no numeric telemetry"), "at least one for a type of twins; it is a base or a component only"
            )
        if len(findings.errors) > before or not channels:
            return None
        return _assembled(interface, contents, channels, properties)

    def _inherited(self, interface: Interface, findings: Findings) -> _Contents:
        """Own contents first, then those of the bases, nearest first. An element that comes twice by two ways is one."""
        out = _Contents()
        taken: dict[str, str] = {}
        deepest = DEEPEST[interface.version]
        seen: set[str] = set()
        # (interface, how it was reached)
        level: list[tuple[Interface, tuple[str, ...]]] = [(interface, ())]
        while level:
            further: list[tuple[Interface, tuple[str, ...]]] = []
            for one, path in level:
                if one.id in seen:
                    continue
                seen.add(one.id)
                if path:
                    out.bases.append(one.id)
                self._take(one, out, taken, path, findings)
                for base in one.extends:
                    where = base.pointer if not path else "/extends"
                    by = f" through {' → '.join(path)}" if path else ""
                    if base.target == interface.id or base.target in path:
                        findings.error(
                            where, Words(f"{base.target!r}{by}"), "interfaces that do not extend each other in a circle"
                        )
                    elif base.target not in self._interfaces:
                        findings.error(where, Words(f"{base.target!r}{by}, which is not here"), "an interface that is in the set")
                    elif len(path) >= deepest:
                        findings.error(where, Words(f"{len(path) + 1} levels{by}"), f"{deepest} levels of extends at most")
                    else:
                        further.append((self._interfaces[base.target], (*path, base.target)))
            if len(seen) + len(further) > MOST_BASES:
                findings.error("/extends", Words(f"more than {MOST_BASES} interfaces"), f"{MOST_BASES} at most")
                break
            level = further
        return out

    def _take(self, one: Interface, out: _Contents, taken: dict[str, str], path: tuple[str, ...], findings: Findings) -> None:
        for name in one.at:
            if name in taken:
                where = "/extends" if path else one.at[name]
                findings.error(where, Words(f"{name!r} in {one.id}"), f"another name; {taken[name]} has one of that name already")
            taken.setdefault(name, one.id)
        for name, channel in one.channels.items():
            out.channels.setdefault(name, (one.id, channel))
        for name, term in one.properties.items():
            out.properties.setdefault(name, (one.id, term))
        for name, edge in one.relationships.items():
            out.relationships.setdefault(name, (one.id, edge))
        for name, component in one.components.items():
            out.components.setdefault(name, (one.id, component.target))
        for key, length in one.durations_ns.items():
            out.durations_ns.setdefault(key, length)

    def _component(
        self, prefix: str, target: str, where: str, findings: Findings, path: tuple[str, ...]
    ) -> tuple[list[Channel], list[PropertyTerm]]:
        if target in path:
            findings.error(where, Words(" contains ".join((*path, target))), "components that do not contain themselves")
            return [], []
        if len(path) > DEEPEST_COMPONENT:
            findings.error(where, Words(f"components {len(path)} levels deep"), f"{DEEPEST_COMPONENT} at most")
            return [], []
        interface = self._interfaces.get(target)
        if interface is None:
            findings.error(where, Words(f"{target!r}, which is not here"), "an interface that is in the set")
            return [], []
        inner = Findings(interface.id)
        contents = self._inherited(interface, inner)
        for one in inner.errors:
            findings.error(where, Words(str(one)), "a component that can be used")
        if contents.relationships:
            names = ", ".join(sorted(contents.relationships))
            findings.note(
                where, Words(f"relationships {names} in a component"), "relationships of the twin itself; these are ignored"
            )
        channels = [replace(channel, name=f"{prefix}.{channel.name}") for _, channel in contents.channels.values()]
        properties = [replace(term, name=f"{prefix}.{term.name}") for _, term in contents.properties.values()]
        for name, (_, further) in contents.components.items():
            more, terms = self._component(f"{prefix}.{name}", further, where, findings, (*path, target))
            channels += more
            properties += terms
        return channels, properties


def _assembled(interface: Interface, contents: _Contents, channels: list[Channel], properties: list[PropertyTerm]) -> TwinType:

    period_ns = contents.durations_ns.get("samplingPeriod") or NS_PER_S
    length = contents.durations_ns
    return TwinType(
        id=interface.id,
        display_name=interface.display_name,
        channels=tuple(sorted(channels, key=lambda channel: channel.name)),
        period_ns=period_ns,
        lateness_ns=_given(length, "lateness", 2 * period_ns),
        max_ahead_ns=length["maxAhead"] if "maxAhead" in length else 3600 * NS_PER_S,
        on_delay_ns=_given(length, "onDelay", 0),
        off_delay_ns=_given(length, "offDelay", 3 * period_ns),
        silent_after_ns=length.get("silentAfter"),
        silence_alerts=length.get("silentAfter", 0) is not None,
        relationships=tuple(edge for _, edge in contents.relationships.values()),
        properties=tuple(properties),
        bases=tuple(contents.bases),
    )


def _given(lengths: Mapping[str, int | None], key: str, default: int) -> int:
    found = lengths.get(key)
    return default if found is None else found
