"""What dashboards ask InfluxDB: the data source, a panel's query, and the names that the store writes under.

In:   twin types; names as `streams.stores.influxdb_catalog` gives them.
Out:  InfluxQL, in which Grafana puts `$timeFilter`, `$__interval` and variables.

A query is raw text, so that what is written here is what runs. `$col` in an alias is the name behind AS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

from streams.stores.influxdb_catalog import TypeFields, measurement_of
from streams.stores.influxdb_lines import QUALITY
from streams.stores.influxdb_server import identifier
from twin.types import TwinType

DATA_SOURCE_UID: Final = "livetwin-influxdb"
DATA_SOURCE: Final = DataSourceRef(type_val="influxdb", uid=DATA_SOURCE_UID)
# policy and measurement; the database is the data source's
ALERTS: Final = '"records"."alerts"'
SWAPS: Final = '"records"."swaps"'
SWITCHES: Final = '"records"."switches"'
ALARM_RATES: Final = '"records"."alarm_rates"'
LAG: Final = '"records"."lag"'
EPOCHS: Final = '"records"."epochs"'
# a variable of one or several values, in a condition; `regex` escapes what a regular expression would take for its own
ASSET_CHOSEN: Final = '"asset" =~ /^${asset:regex}$/'
TYPE_CHOSEN: Final = '"type" =~ /^${type:regex}$/'


@dataclass(slots=True)
class InfluxQuery(Dataquery):
    """One query of a panel, as Grafana's InfluxDB data source keeps it; a dashboard's schema leaves that open."""

    query: str
    ref_id: str = "A"
    alias: str = "$col"
    table: bool = False

    def to_json(self) -> dict[str, object]:
        return {
            "alias": self.alias,
            "datasource": DATA_SOURCE.to_json(),
            "query": self.query,
            "rawQuery": True,
            "refId": self.ref_id,
            "resultFormat": "table" if self.table else "time_series",
        }


@dataclass(slots=True)
class InfluxAnnotation(Dataquery):
    """The query of an annotation: which columns hold its text and its tags."""

    name: str
    query: str
    text: str
    tags: str

    def to_json(self) -> dict[str, object]:
        return {
            "datasource": DATA_SOURCE.to_json(),
            "fromAnnotations": True,
            "name": self.name,
            "query": self.query,
            "queryType": "tags",
            "rawQuery": True,
            "refId": "Anno",
            "tagsColumn": self.tags,
            "textColumn": self.text,
            "timeEndColumn": "",
            "titleColumn": "",
        }


@dataclass(slots=True)
class Ask(Builder[Dataquery]):
    """The library's panels take builders."""

    what: Dataquery

    def build(self) -> Dataquery:
        return self.what


@dataclass(frozen=True, slots=True)
class Steps:
    """The measurement of one twin type, and the quoted names of its channels' fields."""

    source: str
    keys: dict[str, str]

    def field(self, channel: str, kind: str = "") -> str:
        """A channel's field: its value, or with `__expected`, `__spread`, `__quality` what goes with it."""
        return identifier(self.keys[channel] + kind)

    def quality(self, channel: str) -> str:
        return self.field(channel, QUALITY)


def steps_of(kind: TwinType) -> Steps:
    """Where the store keeps the steps of this type.

    >>> from twin.types import Channel
    >>> steps = steps_of(TwinType("dtmi:livetwin:water:Tank;1", "Tank", (Channel("level"),), 1, 0, None, 0, 0))
    >>> steps.source, steps.field("level", "__expected")
    ('"water.tank"', '"level__expected"')
    """
    names = TypeFields(kind.id, measurement_of(kind.id))
    return Steps(identifier(names.measurement), {channel.name: names.add(channel.name) for channel in kind.channels})
