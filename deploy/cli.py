"""The `livetwin` command. A role's code is imported when the role runs, so that `--help` is quick.

Options of `up` are settings by another name: they are put into the environment, which every role inherits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from deploy import __version__
from deploy.grafana_commands import grafana
from deploy.logs import EventFormatter
from deploy.models_commands import models
from deploy.type_commands import types
from twin.errors import LivetwinError

app = typer.Typer(
    name="livetwin",
    help="Live digital twins that keep learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
demo = typer.Typer(help="The demo plant.", no_args_is_help=True)
app.add_typer(demo, name="demo")
app.add_typer(types, name="type")
app.add_typer(grafana, name="grafana")
app.add_typer(models, name="models")
store_commands = typer.Typer(help="Where history is kept.", no_args_is_help=True)
app.add_typer(store_commands, name="store")


def main() -> None:
    """Entry point: errors made on purpose are one line on stderr and status 1."""
    if logging.lastResort is not None:  # of commands that set up no logs: an event without its words says nothing
        logging.lastResort.setFormatter(EventFormatter("livetwin"))
    try:
        app()
    except LivetwinError as error:
        sys.stderr.write(f"livetwin: {error}\n")
        sys.exit(1)


@app.callback()
def _settings_known() -> None:
    from deploy.settings import refuse_unknown_variables

    refuse_unknown_variables()


@app.command()
def up(
    demo: Annotated[Literal["water", "host", "none"] | None, typer.Option(help="demo feed [LIVETWIN_DEMO, water]")] = None,
    kafka: Annotated[str | None, typer.Option(help="embedded or HOST:PORT [LIVETWIN_KAFKA, embedded]")] = None,
    store: Annotated[str | None, typer.Option(help="duckdb:PATH or influxdb:URL [LIVETWIN_STORE, duckdb:]")] = None,
    processors: Annotated[int, typer.Option(min=1, max=64, help="processes that share the partitions")] = 1,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="of the page [LIVETWIN_GATEWAY_PORT, 8080]")] = None,
) -> None:
    """Run the whole system here, supervised, until Ctrl-C."""
    given = {"DEMO": demo, "KAFKA": kafka, "STORE": store, "GATEWAY_PORT": port}
    os.environ.update({f"LIVETWIN_{name}": str(value) for name, value in given.items() if value is not None})
    from deploy.up import run_up

    sys.exit(run_up(processors=processors))


@app.command()
def processor() -> None:
    """Fold telemetry into twins, score them, raise signals."""
    from deploy.roles import processor, run_role

    run_role("processor", processor)


@app.command()
def historian() -> None:
    """Write history, alerts and swaps into the store."""
    from deploy.roles import historian, run_role

    run_role("historian", historian)


@app.command()
def trainer() -> None:
    """Fine-tune on the stream; announce versions that prove themselves."""
    from deploy.roles import run_role, trainer
    from streams.training_worker import NICE

    run_role("trainer", trainer, nice=NICE)


@app.command()
def alerting() -> None:
    """Turn signals into alerts."""
    from deploy.roles import run_alerting

    run_alerting()


@app.command()
def gateway() -> None:
    """Serve HTTP, the event stream and the page."""
    from deploy.roles import gateway, run_role

    run_role("gateway", gateway, needs_broker=False)


@app.command()
def feed(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|host|water", help="a CSV, Parquet, Arrow or JSON-lines file; this machine; the demo plant"),
    ],
    speed: Annotated[
        float | None, typer.Option(min=0, help="event seconds per wall second; a file without it: as fast as possible")
    ] = None,
    asset_column: Annotated[str | None, typer.Option(help="of a file: which column names the asset")] = None,
    time_column: Annotated[str | None, typer.Option(help="of a file: which column holds the event time")] = None,
    form: Annotated[
        Literal["json", "columns", "cloudevents", "arrow"] | None,
        typer.Option("--format", help="of a file's records: a reading each, many of one asset, events, tables of many [columns]"),
    ] = None,
    compression: Annotated[
        Literal["gzip", "lz4", "zstd", "snappy", "none"] | None, typer.Option(help="of a file's records on the way [lz4]")
    ] = None,
) -> None:
    """Produce telemetry: a file's, this machine's, or the demo plant's."""
    from deploy import roles

    of_a_file = {"asset_column": asset_column, "time_column": time_column, "form": form, "compression": compression}
    given = {name: value for name, value in of_a_file.items() if value is not None}
    if source in ("water", "host") and given:
        named = ", ".join("--" + ("format" if name == "form" else name.replace("_", "-")) for name in given)
        raise typer.BadParameter(f"{named}: expected with a file, not with {source!r}; nothing was fed")
    match source:
        case "water":
            roles.run_role("feed", lambda stop: roles.feed_water(stop, speed=speed))
        case "host":
            roles.run_role("feed", roles.feed_host)
        case _:
            path = Path(source)
            if not path.is_file():
                raise typer.BadParameter(f"{source}: no such file, and neither 'host' nor 'water'; nothing was fed")
            roles.run_role("feed", lambda stop: roles.feed_file(stop, path=path, speed=speed, **given))


@app.command()
def score(
    files: Annotated[
        list[Path], typer.Argument(help="CSV, Parquet, Arrow, NumPy or JSON-lines files", exists=True, dir_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="a .csv or .parquet file; a folder for several files")],
    train: Annotated[int | None, typer.Option(min=1, help="first rows known to be normal; without it: the first 15 %")] = None,
    seed: Annotated[int, typer.Option(help="of initial weights and shuffling")] = 7,
    asset_column: Annotated[str | None, typer.Option(help="which column names the asset")] = None,
    time_column: Annotated[str | None, typer.Option(help="which column holds the event time; without any: rows count")] = None,
) -> None:
    """Score files as the stream would: score, risk, alert, top channel of every row. Columns of labels are left out."""
    from deploy.score import score_all

    score_all(files, out=out, train_rows=train, seed=seed, asset_column=asset_column, time_column=time_column)


@app.command()
def replay(
    start: Annotated[str | None, typer.Option("--from", help="event time, RFC 3339 or epoch; the beginning without it")] = None,
    end: Annotated[str | None, typer.Option("--to", help="event time, not included; the end without it")] = None,
    asset: Annotated[list[str] | None, typer.Option(help="only this twin; may be given several times")] = None,
    into: Annotated[
        str | None, typer.Option(help="duckdb:PATH or influxdb:URL; without it only the export's sum is told")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="write the period as JSON lines, steps and then alerts")] = None,
    batch_records: Annotated[int, typer.Option(min=1, help="telemetry records folded at once")] = 5_000,
) -> None:
    """Rebuild store and alerts of a period from Kafka."""
    from deploy.replay import replay

    sys.exit(replay(start=start, end=end, assets=asset or [], into=into, export=export, batch_records=batch_records))


@demo.command()
def fault(
    switch: Annotated[Literal["on", "off"], typer.Argument(help="begin or end it")],
    name: Annotated[Literal["leak", "pump-trip", "stuck", "drift", "offset"], typer.Argument(help="which fault")],
    asset: Annotated[str, typer.Option(help="of which asset")],
    channel: Annotated[str | None, typer.Option(help="sensor faults: which channel; the first without it")] = None,
    size: Annotated[float | None, typer.Option(help="leak: l/s at 20 m head; drift: units per hour; offset: units")] = None,
) -> None:
    """Switch a fault of the demo plant on or off."""
    from deploy.demo_fault import switch_fault
    from deploy.roles import bootstrap_of
    from deploy.settings import KafkaSettings, read
    from streams.records import DemoCommand
    from streams.topics import Topics

    settings = read(KafkaSettings)
    command = DemoCommand(fault=name, asset=asset, channel=channel, size=size, active=switch == "on")
    asyncio.run(switch_fault(bootstrap_of(settings), Topics(settings.topic_prefix), command))
    typer.echo(f"{name} at {asset}: {switch}")


@app.command()
def topics() -> None:
    """Create the topics that are missing; tell where existing ones differ."""
    from deploy.roles import bootstrap_of
    from deploy.settings import KafkaSettings, read
    from deploy.topics import ensure_topics
    from streams.topics import Topics

    settings = read(KafkaSettings)
    bootstrap, names = bootstrap_of(settings), Topics(settings.topic_prefix)
    mismatches = asyncio.run(ensure_topics(bootstrap, names, settings.partitions))
    for mismatch in mismatches:
        typer.echo(str(mismatch))
    if not mismatches:
        typer.echo(f"{bootstrap}: every topic of {settings.topic_prefix}* is as it should be")


@store_commands.command()
def setup() -> None:
    """Create what the store lacks: an InfluxDB's buckets and their names in InfluxQL; on a new server also user and token."""
    from deploy.settings import StoreSettings, read
    from deploy.stores import set_up

    for created in set_up():
        typer.echo(f"created: {created}")
    typer.echo(f"{read(StoreSettings).store}: ready")


@app.command()
def doctor() -> None:
    """Look at all that a start needs; status 1 when something is at fault."""
    from deploy.doctor import examine

    faults = 0
    for finding in examine():
        faults += finding.state == "fault"
        typer.echo(f"{finding.state:5}  {finding.subject:14}  {finding.found}")
        if finding.way_out:
            typer.echo(f"{'':21}  → {finding.way_out}")
    if faults:
        raise typer.Exit(1)


@app.command()
def health(role: Annotated[Literal["processor", "historian", "alerting", "trainer"], typer.Argument(help="which role")]) -> None:
    """Status 0 when this machine has a member of the role's consumer group, as the broker sees it; for health checks."""
    from deploy.health import check
    from deploy.roles import bootstrap_of
    from deploy.settings import KafkaSettings, read

    settings = read(KafkaSettings)
    members = asyncio.run(check(bootstrap_of(settings), f"{settings.topic_prefix}{role}"))
    typer.echo(f"{role}: {members} on this machine")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


if __name__ == "__main__":
    main()
