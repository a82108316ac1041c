"""One gateway's parts, as routes and pages see them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streams.gateway.answers import alert_answer, model_answer, twin_answer
from streams.gateway.arrival_watch import ArrivalWatch
from streams.gateway.commands import Operator
from streams.gateway.following import Kind, TopicFollower
from streams.gateway.problem import ApiError
from streams.gateway.producing import RecordProducer
from streams.gateway.sse import EventHub
from streams.gateway.views import LiveViews
from streams.historian import HistorianStats
from streams.lag import LagWatch
from streams.stores.port import TwinStore
from streams.topics import Topics
from streams.usage import ProcessorUsage

HEARD_NS = 300 * 1_000_000_000  # a processor tells once a minute


@dataclass
class Gateway:
    """Everything that routes and pages share. Built by `assemble`."""

    bootstrap: str
    topics: Topics
    home: Path
    store: TwinStore
    views: LiveViews
    hub: EventHub
    follower: TopicFollower
    producer: RecordProducer
    operator: Operator
    lag: LagWatch
    arrivals: ArrivalWatch
    historian: HistorianStats | None = None
    started: float = field(default_factory=time.time)

    def need_views(self) -> None:
        """Raises ApiError 503 until every view has been read to its end once: part of a list is no list."""
        status = self.follower.status
        if not status.caught_up:
            waiting = ", ".join(status.missing)
            detail = f"still reading {waiting} from the beginning; try again in a moment"
            if not status.reachable:
                detail = f"waiting for the broker at {self.bootstrap} ({status.problem}); {waiting} not read yet"
            raise ApiError(503, detail, retry_after_s=2)

    def usages(self) -> list[ProcessorUsage]:
        """What processors that were heard of lately have scored and taken."""
        return self.views.usage.since(time.time_ns() - HEARD_NS)

    def roles(self) -> dict[str, dict[str, Any]]:
        """The supervisor's notes: role → pid, state, restarts, last_exit, since. Empty when nobody supervises here."""
        try:
            found = orjson.loads((self.home / "run" / "roles.json").read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}


def assemble(*, bootstrap: str, topics: Topics, home: Path, store: TwinStore) -> Gateway:
    views = LiveViews()
    hub = EventHub()
    producer = RecordProducer(bootstrap)

    def on_change(kind: Kind, key: str, record: Any) -> None:
        match kind:
            case "twin":
                hub.publish(kind, key, key, lambda: twin_answer(record, views))
            case "alert":
                hub.publish(kind, key, record.asset, lambda: alert_answer(record))
            case "model":
                hub.publish(kind, key, None, lambda: model_answer(record, views.alarm_rates.of(record.name)))

    follower = TopicFollower(bootstrap, topics, views, on_change)
    return Gateway(
        bootstrap=bootstrap,
        topics=topics,
        home=home,
        store=store,
        views=views,
        hub=hub,
        follower=follower,
        producer=producer,
        operator=Operator(topics, producer, views),
        lag=LagWatch(bootstrap, topics),
        arrivals=ArrivalWatch(topics, views, follower.status, producer),
    )
