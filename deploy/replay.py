"""`livetwin replay`: rebuild what the store should hold of a period, from Kafka alone.

In:   event times, where to write.
Out:  a store; on request the period as JSON lines. Status 1 when a version that served then can't be loaded any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import typer

from deploy.kafka_probe import answers_metadata
from deploy.roles import BrokerAway, bootstrap_of, home_of
from deploy.settings import HomeSettings, KafkaSettings, read
from streams.period_replay import ReplayReport, replay_period
from streams.stores import open_store
from streams.stores.export import export_lines
from streams.stores.port import TwinStore
from streams.topics import Topics
from twin.errors import ReadingRefused
from twin.time import parse_time

_LATEST_NS = 2**63 - 1


def replay(*, start: str | None, end: str | None, into: str | None, export: Path | None, batch_records: int) -> int:
    """Replay and say what was found; the exit status.

    Raises:
        BrokerAway: nobody answers.
        ReadingRefused: a time that is none.
        StoreUnavailable, StoreRefused: the store can't be used.
    """
    from_ns, to_ns = _time(start, 0), _time(end, _LATEST_NS)
    settings = read(KafkaSettings)
    bootstrap, topics = bootstrap_of(settings), Topics(settings.topic_prefix)
    if not asyncio.run(answers_metadata(bootstrap)):
        raise BrokerAway(f"no broker answers at {bootstrap}; start it, or name another with LIVETWIN_KAFKA; nothing was replayed")
    with ExitStack() as opened:
        if into is None:
            into = f"duckdb:{opened.enter_context(tempfile.TemporaryDirectory())}/replay.duckdb"
        store = open_store(into, home=home_of(read(HomeSettings)))
        opened.callback(store.close)
        report = asyncio.run(
            replay_period(
                bootstrap, topics, store, from_ns=from_ns, to_ns=to_ns, batch_records=batch_records, on_progress=_progress
            )
        )
        typer.echo(_told(report))
        lines, digest = _export(store, from_ns, to_ns, export)
    typer.echo(f"export: {lines:,} lines, sha256 {digest}" + (f", in {export}" if export else ""))
    for missing in report.missing_versions:
        typer.echo(f"version missing: {missing}", err=True)
    return 1 if report.missing_versions else 0


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


def _export(store: TwinStore, from_ns: int, to_ns: int, path: Path | None) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    with ExitStack() as opened:
        file = opened.enter_context(path.open("wb")) if path is not None else None
        for line in export_lines(store, from_ns=from_ns, to_ns=to_ns):
            digest.update(line)
            count += 1
            if file is not None:
                file.write(line)
    return count, digest.hexdigest()


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rreplay: {done:,} of {total:,} records " + ("\n" if done >= total else ""))
        sys.stderr.flush()
