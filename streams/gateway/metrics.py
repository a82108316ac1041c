"""/metrics for Prometheus: names spelled out, with their unit.

In:   the live views, the historian, counters of the producer and of HTTP.
Out:  the text format; gauges are read when Prometheus asks, so that nothing is counted twice.
"""

from __future__ import annotations

import time
from collections import Counter as Count
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.gateway.gateway import Gateway
from streams.stores.port import StoreError


class _Views(Collector):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def describe(self) -> list[Metric]:
        return []  # or the registry would collect once to learn the names

    def collect(self) -> Iterator[Metric]:
        gateway = self._gateway
        views = gateway.views
        twins = GaugeMetricFamily("livetwin_twins", "Twins by type and health", labels=["type", "health"])
        for (dtmi, health), count in Count((state.type, state.health) for state in views.twins.after()).items():
            kind = views.definitions.types.get(dtmi)
            twins.add_metric([kind.slug if kind is not None else dtmi, health], count)
        yield twins
        alerts = GaugeMetricFamily(
            "livetwin_alerts_active", "Active alerts by severity and acknowledgement", labels=["severity", "acknowledged"]
        )
        for (severity, acknowledged), count in Count((one.severity, one.acknowledged) for one in views.alerts.active()).items():
            alerts.add_metric([severity, str(acknowledged).lower()], count)
        yield alerts
        yield GaugeMetricFamily(
            "livetwin_models", "Models with a champion", sum(one.alias is not None for one in views.models.models.values())
        )
        yield GaugeMetricFamily(
            "livetwin_models_refusals", "Versions refused", sum(len(one.refusals) for one in views.models.models.values())
        )
        yield GaugeMetricFamily("livetwin_dead_letter_records", "Records kept in dead-letter", views.dead_letter_count)
        yield GaugeMetricFamily(
            "livetwin_broker_reachable", "1 while the broker answers", float(gateway.follower.status.reachable)
        )
        yield GaugeMetricFamily(
            "livetwin_views_caught_up", "1 once every view was read to its end", float(gateway.follower.status.caught_up)
        )
        yield GaugeMetricFamily("livetwin_stream_clients", "Clients of /v1/stream", gateway.hub.clients)
        if views.twins.newest_ns is not None:
            yield GaugeMetricFamily(
                "livetwin_newest_event_time_seconds", "Newest event time of any twin, Unix time", views.twins.newest_ns / 1e9
            )
        skipped = CounterMetricFamily("livetwin_view_records_skipped", "Records no view could read", labels=["topic", "reason"])
        for (topic, reason), count in views.skipped.items():
            skipped.add_metric([topic, reason], count)
        yield skipped
        produced = CounterMetricFamily(
            "livetwin_gateway_records_produced", "Records acknowledged by the broker", labels=["topic"]
        )
        for topic, count in gateway.producer.produced.items():
            produced.add_metric([topic], count)
        yield produced
        yield from self._lag()
        yield from self._store()

    def _lag(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("livetwin_role_lag_records", "Records that a role has still to do", labels=["role", "topic"])
        members = GaugeMetricFamily("livetwin_role_members", "Processes of a role that share the partitions", labels=["role"])
        for role in self._gateway.lag.newest or ():
            for topic, records in role.records.items():
                lag.add_metric([role.role, topic], records)
            members.add_metric([role.role], role.members)
        yield lag
        yield members

    def _store(self) -> Iterator[Metric]:
        historian = self._gateway.historian
        if historian is not None:
            lag = GaugeMetricFamily(
                "livetwin_historian_lag_records", "Records the historian has still to write", labels=["topic"]
            )
            for topic, records in historian.lag.items():
                lag.add_metric([topic], records)
            yield lag
            yield CounterMetricFamily("livetwin_historian_rows_written", "Rows written to the store", historian.rows_written)
        try:
            yield GaugeMetricFamily("livetwin_store_size_bytes", "Size of the store", self._gateway.store.size_bytes())
        except StoreError:
            return


def registry(gateway: Gateway) -> CollectorRegistry:
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    found.register(_Views(gateway))
    return found


def _template(scope: Scope) -> str:
    """The route's path with its parameters' names; what belongs to the page's machinery is one."""
    found: str | None = getattr(scope.get("route"), "path_format", None)
    return "page-assets" if found is None or found.startswith("/_nicegui") else found


class RequestMetrics:
    """ASGI middleware: how many requests, how long, by route template; /v1/stream and the page's socket are left out of the "
    "times."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        labels = ["method", "route", "status"]
        self._requests = Counter("livetwin_http_requests", "HTTP requests", labels, registry=registry)
        buckets = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
        self._duration = Histogram(
            "livetwin_http_request_duration_seconds", "Time to answer", labels[:2], buckets=buckets, registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            route = _template(scope)
            method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
            self._requests.labels(method, route, str(status)).inc()
            if route != "/v1/stream":
                self._duration.labels(method, route).observe(time.perf_counter() - began)
