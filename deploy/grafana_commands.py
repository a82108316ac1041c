"""`livetwin grafana export | sync`: dashboards of the twin types, for Grafana to provision."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

grafana = typer.Typer(help="Grafana dashboards of the twin types.", no_args_is_help=True)

PageUrl = Annotated[
    str | None, typer.Option(help="where operators find livetwin's page; dashboards link there [LIVETWIN_PUBLIC_URL]")
]


@grafana.command()
def export(
    out: Annotated[Path, typer.Option(help="folder for the dashboards, one file each")],
    types: Annotated[
        list[Path] | None, typer.Argument(metavar="[TYPES…]", help="DTDL files or folders; without them the types on the broker")
    ] = None,
    page_url: PageUrl = None,
) -> None:
    """Write the dashboards once."""
    from deploy.grafana.export import export
    from deploy.grafana.frame import fleet_of

    if types:
        from deploy.type_files import files_of, read_types
        from twin.errors import TypeInvalid

        found = read_types(files_of(types))
        if found.errors:
            raise TypeInvalid("\n".join(map(str, found.errors)) + "\nno dashboard was written")
        declared = found.types
    else:
        from deploy.roles import bootstrap_of
        from deploy.settings import KafkaSettings, read
        from streams.definitions import read_definitions
        from streams.topics import Topics

        settings = read(KafkaSettings)
        declared = asyncio.run(read_definitions(bootstrap_of(settings), Topics(settings.topic_prefix))).types
    for path in export(fleet_of(list(declared.values()), page_url or _public_url()), out):
        typer.echo(str(path))


@grafana.command()
def sync(
    out: Annotated[Path, typer.Option(help="folder for dashboards and Grafana's token, shared with Grafana")],
    page_url: PageUrl = None,
) -> None:
    """Keep the dashboards those of the declared types, until stopped. The store must be an InfluxDB."""
    from deploy.roles import grafana_sync, run_role

    run_role("grafana", lambda stop: grafana_sync(stop, folder=out, page_url=page_url or _public_url()))


def _public_url() -> str:
    from deploy.roles import public_url_of
    from deploy.settings import GatewaySettings, read

    return public_url_of(read(GatewaySettings))
