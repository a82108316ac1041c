"""The fleet: which assets exist, of which type, and how they relate.

In:   twin declarations (asset, type, relationships, static properties).
Out:  neighbours of an asset, for the page, for evidence and for a graph model.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field


class Relationship(BaseModel):
    """A directed edge of the fleet graph, named by the type: `feeds`, `contains`, `drives`."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="relationship name, as in the twin type")
    target: str = Field(description="asset id the edge points to")


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


class Fleet:
    """The graph of all declared twins. Later declarations of an asset replace earlier ones."""

    def __init__(self, declarations: Iterable[TwinDeclaration] = ()) -> None:
        self._twins: dict[str, TwinDeclaration] = {}
        for declaration in declarations:
            self.declare(declaration)

    def declare(self, declaration: TwinDeclaration) -> None:
        self._twins[declaration.asset] = declaration

    def __contains__(self, asset: str) -> bool:
        return asset in self._twins

    def __len__(self) -> int:
        return len(self._twins)

    def get(self, asset: str) -> TwinDeclaration | None:
        return self._twins.get(asset)

    def twins(self) -> list[TwinDeclaration]:
        """All declarations, by asset id."""
        return [self._twins[asset] for asset in sorted(self._twins)]

    def neighbours(self, asset: str) -> set[str]:
        """Assets one edge away, in either direction.

        >>> fleet = Fleet([TwinDeclaration(asset="a", type="t", relationships=(Relationship(name="feeds", target="b"),)),
        ...                TwinDeclaration(asset="b", type="t")])
        >>> fleet.neighbours("b")
        {'a'}
        """
        own = self._twins.get(asset)
        found = {edge.target for edge in own.relationships} if own else set()
        found |= {twin.asset for twin in self._twins.values() if any(edge.target == asset for edge in twin.relationships)}
        return found - {asset}
