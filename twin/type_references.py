"""Which interfaces a DTDL interface names: what it extends, what it contains, what is given in it in place of a name.

In:   interfaces as JSON holds them, however they are written.
Out:  identifiers, and the interfaces behind them. Nothing here judges: `twin.dtdl` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_BASES = 1024  # of one interface, over all levels
DEEPEST = {2: 10, 3: 10, 4: 12}  # levels of `extends`, by the version of DTDL


def dependents(identifier: str, interfaces: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Interfaces that extend or contain one, over all levels, nearest first."""
    users: dict[str, list[str]] = {}
    for name, document in interfaces.items():
        for one in with_nested(document):
            for needed in needs(one):
                users.setdefault(needed, []).append(name)
    out: list[str] = []
    waiting = [identifier]
    while waiting:
        for user in users.get(waiting.pop(0), ()):
            if user not in out and user != identifier:
                out.append(user)
                waiting.append(user)
    return out


def needs(document: object) -> set[str]:
    """Identifiers of the interfaces that an interface extends or contains, given by name.

    >>> sorted(needs({"extends": "dtmi:a;1", "contents": [{"@type": "Component", "schema": "dtmi:b;1"}]}))
    ['dtmi:a;1', 'dtmi:b;1']
    """
    if not isinstance(document, Mapping):
        return set()
    contents = document.get("contents")
    found: list[object] = [
        one.get("schema")
        for one in (contents if isinstance(contents, list) else [])
        if isinstance(one, Mapping) and _component(one)
    ]
    bases = document.get("extends")
    found += bases if isinstance(bases, list) else [bases]
    return {one for one in found if isinstance(one, str)}


def needed(document: object, others: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Interfaces that one needs, over all levels, itself left out."""
    own = document.get("@id") if isinstance(document, Mapping) else None
    found: dict[str, Mapping[str, Any]] = {}
    waiting = [name for one in with_nested(document) for name in sorted(needs(one))]
    while waiting and len(found) <= MOST_BASES:
        name = waiting.pop()
        if name in others and name not in found and name != own:
            found[name] = others[name]
            waiting += [further for one in with_nested(others[name]) for further in sorted(needs(one))]
    return list(found.values())


def _component(element: Mapping[str, Any]) -> bool:
    kinds = element.get("@type")
    return kinds == "Component" or (isinstance(kinds, list) and "Component" in kinds)


def with_nested(document: object, depth: int = 0) -> list[object]:
    """An interface, and those that are given in place of a reference in it."""
    out = [document]
    if isinstance(document, Mapping) and depth < DEEPEST[4]:
        contents, bases = document.get("contents"), document.get("extends")
        inner: list[object] = [
            one.get("schema")
            for one in (contents if isinstance(contents, list) else [])
            if isinstance(one, Mapping) and _component(one)
        ]
        inner += bases if isinstance(bases, list) else [bases]
        for one in inner:
            if isinstance(one, Mapping):
                out += with_nested({"@context": document.get("@context"), **one}, depth + 1)
    return out
