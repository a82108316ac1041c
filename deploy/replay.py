"""`livetwin replay`: rebuild what the store should hold of a period, from Kafka alone.

In:   event times, twins, where to write.
Out:  a store; on request the period as JSON lines. Status 1 when the log holds nothing of the period, or a version that served
      then can't be loaded any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import typer

from deploy.kafka_probe import answers_metadata
from deploy.roles import BrokerAway, bootstrap_of, home_of, weight_sources
from deploy.settings import HomeSettings, InfluxDbSettings, KafkaSettings, read
from deploy.stores import influxdb_access, is_embedded_store
from streams.period_replay import ReplayReport, replay_period
from streams.stores import open_store
from streams.stores.export import export_lines
from streams.stores.port import TwinStore
from streams.topics import Topics
from twin.errors import ReadingRefused
from twin.time import parse_time

_LATEST_NS = 2**63 - 1
_TELL_EVERY_S = 10.0


def replay(
    *, start: str | None, end: str | None, assets: list[str], into: str | None, export: Path | None, batch_records: int
) -> int:
    """Replay and say what was found; the exit status.

    Raises:
        BrokerAway: nobody answers.
        ReadingRefused: a time that is none, or a period that ends before it begins.
        SettingsInvalid, StoreUnavailable, StoreRefused: the store can't be used.
        TwinUnknown: an asset that is no twin.
    """
    from_ns, to_ns = _time(start, 0), _time(end, _LATEST_NS)
    if from_ns >= to_ns:
        raise ReadingRefused(
            "time", f"the period from {start} to {end} holds nothing: --to is not included; nothing was replayed"
        )
    settings = read(KafkaSettings)
    bootstrap, topics = bootstrap_of(settings), Topics(settings.topic_prefix)
    if not asyncio.run(answers_metadata(bootstrap)):
        raise BrokerAway(f"no broker answers at {bootstrap}; start it, or name another with LIVETWIN_KAFKA; nothing was replayed")
    with ExitStack() as opened:
        if into is None:
            into = f"duckdb:{opened.enter_context(tempfile.TemporaryDirectory())}/replay.duckdb"
        access = None if is_embedded_store(into) else influxdb_access(read(InfluxDbSettings))
        store = open_store(into, home=home_of(read(HomeSettings)), influxdb=access)
        opened.callback(store.close)
        report = asyncio.run(
            replay_period(
                bootstrap,
                topics,
                store,
                from_ns=from_ns,
                to_ns=to_ns,
                assets=assets,
                batch_records=batch_records,
                weights=weight_sources(),
                on_progress=_Progress().told,
            )
        )
        typer.echo(_told(report))
        short = _short_of(report, from_ns if start is not None else None)
        if short is not None:
            typer.echo(short, err=True)
        lines, digest = _export(store, from_ns, to_ns, assets, export)
    typer.echo(f"export: {lines:,} lines, sha256 {digest}" + (f", in {export}" if export else ""))
    for missing in report.missing_versions:
        typer.echo(f"version missing: {missing}", err=True)
    return 1 if report.missing_versions or not report.counts["written"] else 0


def _time(given: str | None, otherwise: int) -> int:
    if given is None:
        return otherwise
    try:
        return parse_time(int(given) if given.isdigit() else given)
    except ReadingRefused as error:
        raise ReadingRefused(
            error.reason, f"{given!r} is no time, expected RFC 3339 or an epoch number; nothing was replayed"
        ) from error


def _told(report: ReplayReport) -> str:
    counts = report.counts
    return (
        f"replayed {counts['records']:,} records ({counts['refused']:,} refused), {counts['steps']:,} steps closed, "
        f"{counts['written']:,} of the period written; {counts['signals']:,} signals and {counts['commands']:,} commands "
        f"gave {counts['alerts']:,} alerts"
    )


def _short_of(report: ReplayReport, from_ns: int | None) -> str | None:
    """Where the log holds less than was asked for, and why; `from_ns` None: nobody asked for a beginning."""
    dropped = ", ".join(f"{number} before offset {begin:,}" for number, begin in sorted(report.dropped.items()))
    why = f"; retention has dropped telemetry of partition {dropped}" if dropped else "; retention has dropped nothing"
    if report.held is None:
        return f"the log holds no closed step of these twins{why}"
    first, last = (_utc(time_ns) for time_ns in report.held)
    if not report.counts["written"]:
        return f"no step of the period: the log holds steps from {first} to {last}{why}"
    if from_ns is not None and from_ns < report.held[0] and dropped:
        return f"the period begins before the log, which holds steps from {first} on{why}"
    return None


def _utc(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).isoformat().replace("+00:00", "Z")


def _export(store: TwinStore, from_ns: int, to_ns: int, assets: list[str], path: Path | None) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    with ExitStack() as opened:
        file = opened.enter_context(path.open("wb")) if path is not None else None
        for line in export_lines(store, from_ns=from_ns, to_ns=to_ns, assets=assets):
            digest.update(line)
            count += 1
            if file is not None:
                file.write(line)
    return count, digest.hexdigest()


class _Progress:
    """A line that grows on a terminal; elsewhere a line every ten seconds."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def told(self, done: int, total: int) -> None:
        text = f"replay: {done:,} of {total:,} records"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text} " + ("\n" if done >= total else ""))
            sys.stderr.flush()
        elif time.monotonic() - self._told_at >= _TELL_EVERY_S:
            self._told_at = time.monotonic()
            typer.echo(text, err=True)
