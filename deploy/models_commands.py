"""`livetwin models`: which versions there are, what is known of one, what two differ in; promote, roll back, train, export.

Straight from the topic `models`: no gateway is needed. What runs is imported only where it is needed.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer

models = typer.Typer(
    help="Models: versions, their cards, promote, roll back, train.\n\n"
    "Status: 0 done, 1 failed, 2 used wrongly, 3 refused (the reason is told), 4 nobody answered in time.",
    no_args_is_help=True,
)
REFUSED, UNANSWERED = 3, 4

T = TypeVar("T")
Name = Annotated[str, typer.Argument(metavar="NAME", help="of the model: the short name of its twin type, such as water.tank")]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]
By = Annotated[str | None, typer.Option(help="who asks, for the record; the user's name without it")]
Within = Annotated[float, typer.Option("--timeout", min=0, help="seconds to wait for the trainer's answer")]


@models.callback()
def _broker(
    kafka: Annotated[str | None, typer.Option(help="embedded or HOST:PORT [LIVETWIN_KAFKA, embedded]")] = None,
) -> None:
    if kafka is not None:
        os.environ["LIVETWIN_KAFKA"] = kafka


@models.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Every model: what serves, since when, what was decided last."""
    from deploy.models_told import summaries, summary_table

    found = summaries(_view())
    _say(found, summary_table(found), as_json)


@models.command()
def show(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="the champion without it")] = None,
    as_json: AsJson = False,
) -> None:
    """The model card of a version."""
    from deploy.models_told import version_of
    from streams.model_card import card, markdown

    found = card(version_of(_view(), name, version))
    _say(found, markdown(found).rstrip(), as_json)


@models.command()
def diff(
    name: Name,
    before: Annotated[str, typer.Argument(metavar="A")],
    after: Annotated[str, typer.Argument(metavar="B")],
    as_json: AsJson = False,
) -> None:
    """Two versions side by side: figures, data, what was left out, structure, cost, how far the weights moved."""
    from deploy.models_told import differences, differences_text, version_of
    from deploy.roles import weight_sources

    view = _view()
    found = differences(version_of(view, name, before), version_of(view, name, after), weight_sources())
    _say(found, differences_text(found), as_json)


@models.command()
def promote(
    name: Name, version: Annotated[str, typer.Argument()], by: By = None, within_s: Within = 30.0, as_json: AsJson = False
) -> None:
    """Let this version serve."""
    _order(name, "promote", version, by, within_s, as_json)


@models.command()
def rollback(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="the one before the champion without it")] = None,
    by: By = None,
    within_s: Within = 30.0,
    as_json: AsJson = False,
) -> None:
    """Let the version before serve again."""
    _order(name, "rollback", version, by, within_s, as_json)


@models.command()
def train(name: Name, by: By = None, within_s: Within = 900.0, as_json: AsJson = False) -> None:
    """Train an update now; it serves only if it proves itself."""
    _order(name, "train", None, by, within_s, as_json)


@models.command()
def export(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="the champion without it")] = None,
    out: Annotated[Path, typer.Option(help="folder for weights and card", file_okay=False)] = Path(),
) -> None:
    """Write a version's weights and its card into a folder."""
    from deploy.models_told import export_version, version_of
    from deploy.roles import weight_sources

    for path in export_version(version_of(_view(), name, version), weight_sources(), out):
        typer.echo(str(path))


def _order(name: str, action: Any, version: str | None, by: str | None, within_s: float, as_json: bool) -> None:
    from streams.model_orders import Answer, opened

    async def give() -> tuple[Answer, Answer | None]:
        async with opened(*_kafka()) as (orders, view):
            answer = await orders.order(name, action, version=version, by=by or getpass.getuser(), within_s=within_s)
            alias = view.alias(name)
            if answer.outcome == "done" and alias is not None and alias.champion == answer.version:
                return answer, await orders.served(name, alias.champion)
            return answer, None

    answer, served = _run(give())
    told = {"model": name, "action": action, "outcome": answer.outcome, "version": answer.version, "why": answer.words}
    told |= {"served": None if served is None else {"outcome": served.outcome, "found": served.words}}
    lines = [f"{answer.outcome}: {answer.words}"] + ([served.words] if served is not None else [])
    _say(told, "\n".join(lines), as_json)
    outcomes = {answer.outcome} | ({"refused"} if served is not None and served.outcome == "refused" else set())
    if "refused" in outcomes:
        raise typer.Exit(REFUSED)
    if "unanswered" in outcomes:
        raise typer.Exit(UNANSWERED)


def _kafka() -> tuple[str, Any]:
    from deploy.roles import bootstrap_of
    from deploy.settings import KafkaSettings, read
    from streams.topics import Topics

    settings = read(KafkaSettings)
    return bootstrap_of(settings), Topics(settings.topic_prefix)


def _view() -> Any:
    from streams.models_topic import read_models

    return _run(read_models(*_kafka()))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Raises BrokerAway where Kafka does not answer."""
    from aiokafka.errors import KafkaError

    from deploy.roles import BrokerAway

    try:
        return asyncio.run(work)
    except (KafkaError, OSError) as error:
        raise BrokerAway(
            f"broker {_kafka()[0]}: {error!r}; is it running? --kafka HOST:PORT names another; nothing was done"
        ) from error


def _say(found: Any, text: str, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    else:
        typer.echo(text)
