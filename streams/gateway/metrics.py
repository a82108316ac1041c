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
from streams.usage import wh_per_million_steps


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
        yield from self._arrivals()
        yield from self._alarms()
        yield from self._energy()
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

    def _arrivals(self) -> Iterator[Metric]:
        labels = ["type", "partition"]
        since = GaugeMetricFamily("livetwin_last_step_came_seconds", "When a step came last, Unix time", labels=labels)
        quiet = GaugeMetricFamily("livetwin_quiet", "1 where nothing comes any more, judged by how steps came", labels=labels)
        definitions = self._gateway.views.definitions
        for one in self._gateway.arrivals.newest or ():
            kind = definitions.types.get(one.type)
            place = [kind.slug if kind is not None else one.type, str(one.partition)]
            since.add_metric(place, one.last_ms / 1e3)
            quiet.add_metric(place, float(one.quiet))
        yield from (since, quiet)

    def _alarms(self) -> Iterator[Metric]:
        """Alarms of the model beside those asked for, in the newest week of event time and since the champion serves."""
        labels = ["model", "period"]
        raised = GaugeMetricFamily("livetwin_alarms_raised", "Alarms of the model that began", labels=labels)
        expected = GaugeMetricFamily("livetwin_alarms_expected", "Alarms of the model that were asked for", labels=labels)
        ratio = GaugeMetricFamily("livetwin_alarms_raised_over_expected", "Alarms raised over those asked for", labels=labels)
        for name in self._gateway.views.models.models:
            found = self._gateway.views.alarm_rates.of(name)
            for period, count in () if found is None else (("week", found.week), ("version", found.since_version)):
                raised.add_metric([name, period], count.alarms)
                expected.add_metric([name, period], count.expected)
                if count.ratio is not None:
                    ratio.add_metric([name, period], count.ratio)
        yield from (raised, expected, ratio)

    def _energy(self) -> Iterator[Metric]:
        """Of training by its newest version; of scoring by each processor that was heard of lately."""
        update = GaugeMetricFamily(
            "livetwin_update_energy_watt_hours", "Energy of training and gate of the newest version", labels=["model"]
        )
        cpu = GaugeMetricFamily(
            "livetwin_update_cpu_seconds", "CPU time of training and gate of the newest version", labels=["model"]
        )
        for name, model in self._gateway.views.models.models.items():
            newest = next((one.compute for one in model.history() if one.compute is not None), None)
            if newest is not None:
                cpu.add_metric([name], newest.cpu_s)
            if newest is not None and newest.energy is not None:
                update.add_metric([name], newest.energy.wh)
        yield from (update, cpu)
        heard = self._gateway.usages()
        steps = CounterMetricFamily("livetwin_processor_scored_steps", "Closed steps a version scored", labels=["processor"])
        used = CounterMetricFamily("livetwin_processor_cpu_seconds", "CPU time of a processor", labels=["processor"])
        energy = CounterMetricFamily(
            "livetwin_processor_energy_watt_hours", "Energy of a processor's CPU time, estimated", labels=["processor"]
        )
        for one in heard:
            steps.add_metric([one.instance], one.scored_steps)
            used.add_metric([one.instance], one.cpu_s)
            if one.energy_wh is not None:
                energy.add_metric([one.instance], one.energy_wh)
        yield from (steps, used, energy)
        per_million = wh_per_million_steps(heard)
        if per_million is not None:
            yield GaugeMetricFamily(
                "livetwin_energy_watt_hours_per_million_steps", "Energy of scoring a million steps, estimated", per_million
            )

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
