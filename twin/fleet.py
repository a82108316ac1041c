"""The fleet: which assets exist, of which type, and how they relate.

In:   twin declarations (asset, type, relationships, static properties).
Out:  neighbours of an asset, for the page, for evidence and for a graph model; static data as of a time.
      `twin.fleet_query` asks more.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from twin.time import parse_time


class Relationship(BaseModel):
    """A directed edge of the fleet graph, named by the type: `feeds`, `contains`, `drives`."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="relationship name, as in the twin type")
    target: str = Field(description="asset id the edge points to")
    properties: dict[str, str | float | bool] = Field(
        default_factory=dict, description="of the edge, as the type's relationship has"
    )


class TwinDeclaration(BaseModel):
    """One twin of the fleet, as published on the `definitions` topic under the key `twin/<asset>`."""

    model_config = ConfigDict(frozen=True)

    asset: str
    type: str = Field(description="DTMI of the twin type")
    name: str | None = Field(default=None, description="name for people")
    relationships: tuple[Relationship, ...] = ()
    units: dict[str, str] = Field(
        default_factory=dict, description="channel → unit in which its readings come, where that is not the type's"
    )
    properties: dict[str, str | float | bool] = Field(
        default_factory=dict, description="static data; `x`, `y` place it on the map"
    )


class PropertyChange(BaseModel):
    """Static data of one twin from a time on, as published on `definitions` under the key `property/<asset>/<time>`.

    Each change has a key of its own, so that the compacted topic keeps them all.
    """

    model_config = ConfigDict(frozen=True)

    asset: str
    time: str | int = Field(description="event time from which it holds: RFC 3339, or a number since 1970")
    properties: dict[str, str | float | bool]


class Fleet:
    """The graph of all declared twins. Later declarations of an asset replace earlier ones."""

    def __init__(self, declarations: Iterable[TwinDeclaration] = ()) -> None:
        self._twins: dict[str, TwinDeclaration] = {}
        self._incoming: dict[str, set[str]] = {}  # target → assets with an edge to it
        self._changes: dict[str, dict[int, dict[str, str | float | bool]]] = {}  # asset → event time → properties
        for declaration in declarations:
            self.declare(declaration)

    def declare(self, declaration: TwinDeclaration) -> None:
        before = self._twins.get(declaration.asset)
        for edge in before.relationships if before is not None else ():
            self._incoming[edge.target].discard(declaration.asset)
        self._twins[declaration.asset] = declaration
        for edge in declaration.relationships:
            self._incoming.setdefault(edge.target, set()).add(declaration.asset)

    def change(self, change: PropertyChange) -> bool:
        """Take up a change of static data, in any order; whether it is new. Raises ReadingRefused: no time."""
        of_asset = self._changes.setdefault(change.asset, {})
        at = parse_time(change.time)
        if of_asset.get(at) == change.properties:
            return False
        of_asset[at] = change.properties
        return True

    def changes(self, asset: str) -> list[tuple[int, dict[str, str | float | bool]]]:
        """(event time, properties that changed then), oldest first."""
        return sorted(self._changes.get(asset, {}).items())

    def properties(self, asset: str, at_ns: int | None = None) -> dict[str, str | float | bool]:
        """Static data as of an event time, or as it is: what is declared, and all changes up to then.

        >>> fleet = Fleet([TwinDeclaration(asset="p1", type="t", properties={"impeller": "A", "room": 3})])
        >>> _ = fleet.change(PropertyChange(asset="p1", time=1700000000, properties={"impeller": "B"}))
        >>> fleet.properties("p1"), fleet.properties("p1", at_ns=1_600_000_000 * 10**9)["impeller"]
        ({'impeller': 'B', 'room': 3.0}, 'A')
        """
        declared = self._twins.get(asset)
        found = dict(declared.properties) if declared is not None else {}
        for time_ns, properties in self.changes(asset):
            if at_ns is None or time_ns <= at_ns:
                found |= properties
        return found

    def __contains__(self, asset: str) -> bool:
        return asset in self._twins

    def __len__(self) -> int:
        return len(self._twins)

    def get(self, asset: str) -> TwinDeclaration | None:
        return self._twins.get(asset)

    def twins(self) -> list[TwinDeclaration]:
        """All declarations, by asset id."""
        return [self._twins[asset] for asset in sorted(self._twins)]

    def incoming(self, asset: str) -> list[tuple[str, Relationship]]:
        """Edges that point to an asset, with the assets they leave."""
        sources = sorted(self._incoming.get(asset, ()))
        return [(source, edge) for source in sources for edge in self._twins[source].relationships if edge.target == asset]

    def neighbours(self, asset: str) -> set[str]:
        """Assets one edge away, in either direction.

        >>> fleet = Fleet([TwinDeclaration(asset="a", type="t", relationships=(Relationship(name="feeds", target="b"),)),
        ...                TwinDeclaration(asset="b", type="t")])
        >>> fleet.neighbours("b")
        {'a'}
        """
        own = self._twins.get(asset)
        found = {edge.target for edge in own.relationships} if own else set()
        return (found | self._incoming.get(asset, set())) - {asset}
