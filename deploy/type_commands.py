"""`livetwin type infer | check | export`: twin types as files. Roles and Kafka are imported only where they are needed."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer

types = typer.Typer(help="Twin types: infer, check, export.", no_args_is_help=True)


@types.command()
def infer(
    sources: Annotated[
        list[str], typer.Argument(metavar="TOPIC|FILE…", help="a topic; or CSV, Parquet, Arrow, JSON-lines files")
    ],
    name: Annotated[str | None, typer.Option(help="of the type; the first source's name without it")] = None,
    out: Annotated[Path | None, typer.Option(help="write the interface here, not to standard output")] = None,
    asset_column: Annotated[str | None, typer.Option(help="of files: which column names the asset")] = None,
    time_column: Annotated[str | None, typer.Option(help="of files: which column holds the event time")] = None,
) -> None:
    """Write a type from a sample of telemetry; what is guessed, and how sure, goes to standard error."""
    from deploy.type_inference import NothingToInfer, infer, sample_files, sample_topic

    paths = [Path(source) for source in sources]
    if all(path.is_file() for path in paths):
        sample = sample_files(paths, time_column, asset_column)
    elif time_column or asset_column:
        raise typer.BadParameter(f"--time-column, --asset-column: expected with files, not with {sources}; nothing was inferred")
    elif len(sources) == 1:
        from deploy.roles import bootstrap_of
        from deploy.settings import KafkaSettings, read

        sample = asyncio.run(sample_topic(bootstrap_of(read(KafkaSettings)), sources[0]))
    else:
        missing = next(str(path) for path in paths if not path.is_file())
        raise NothingToInfer(f"{missing}: no such file, expected one topic or files that are there; nothing was inferred")
    found = infer(sample, name or paths[0].name.split(".")[0])
    _write(found[0][0] if len(found) == 1 else [interface for interface, _ in found], out)
    assets = len(set(sample.asset.tolist()))
    lines = [f"{len(sample.time_ns)} readings of {assets} {'asset' if assets == 1 else 'assets'}"]
    if len(found) > 1:
        lines[0] += f" of {len(found)} kinds, told apart by their channels"
    if sample.left_out:
        lines[0] += f"; {sample.left_out} records could not be read"
    if sample.texts:
        lines.append(f"  left out, as `livetwin feed` sends numbers only: {', '.join(sample.texts)}")
    for interface, guesses in found:
        lines += [interface["@id"]] if len(found) > 1 else []
        for channel, guessed in guesses.items():
            lines += [
                f"  {channel or 'the type':24}  {one.what:14}  {one.value!s:24}  {one.sure:4.0%} sure: {one.why}"
                for one in guessed
            ]
    typer.echo("\n".join(lines), err=True)


@types.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="JSON files of DTDL interfaces, or folders of them")],
) -> None:
    """Say all that is wrong with types, each with file, place, found and expected; status 1 when anything is."""
    from deploy.type_files import files_of, read_types

    found = read_types(files_of(files))
    for one in found.findings:
        typer.echo(f"{one.level:5}  {one}")
    for kind in found.types.values():
        names = ", ".join(kind.channel_names)
        every = f"every {kind.period_ns / 1e9:g} s"
        typer.echo(f"ok     {kind.id}: {len(kind.channels)} channels ({names}), {every}, contract {kind.contract}")
    if found.errors:
        raise typer.Exit(1)


@types.command()
def export(
    id: Annotated[str, typer.Argument(metavar="ID", help="DTMI or short name of a type; for wot also an asset id")],
    format: Annotated[Literal["dtdl", "wot"], typer.Option(help="DTDL interface, or W3C WoT Thing Description 1.1")] = "dtdl",
    base: Annotated[str, typer.Option(help="of a Thing Description: the gateway's address")] = "http://127.0.0.1:8080/",
    out: Annotated[Path | None, typer.Option(help="write it here, not to standard output")] = None,
) -> None:
    """Write a declared type, or a twin's Thing Description."""
    from deploy.roles import bootstrap_of
    from deploy.settings import KafkaSettings, read
    from streams.definitions import read_definitions
    from streams.topics import Topics
    from twin.errors import TypeInvalid
    from twin.thing_description import describe_twin, describe_type

    settings = read(KafkaSettings)
    logging.getLogger("streams").setLevel(logging.ERROR)  # one line below instead of one each
    view = asyncio.run(read_definitions(bootstrap_of(settings), Topics(settings.topic_prefix)))
    if view.faults:
        typer.echo(
            f"{len(view.faults)} definitions are not used as they stand; GET /v1/types says why, under `problems`", err=True
        )
    kind = view.types.get(id) or view.by_slug(id)
    twin = view.fleet.get(id)
    of_twin = view.types.get(twin.type) if twin is not None else None
    if format == "dtdl" and (id in view.interfaces or kind is not None):
        _write(view.interfaces[kind.id if kind is not None else id], out)
    elif format == "wot" and kind is not None:
        _write(describe_type(kind, base), out)
    elif format == "wot" and twin is not None and of_twin is not None:
        _write(describe_twin(of_twin, twin, base), out)
    else:
        known = ", ".join(sorted(view.types)[:20]) or "none"
        raise TypeInvalid(
            f"{id}: no such type{' or twin' if format == 'wot' else ''}, expected one of: {known}; nothing was written"
        )


def _write(document: dict[str, Any] | list[dict[str, Any]], out: Path | None) -> None:
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if out is None:
        sys.stdout.buffer.write(text)
    else:
        out.write_bytes(text)
