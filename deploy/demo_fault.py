"""Tell the demo plant to begin or end a fault: one record on `demo.commands`."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from streams.demo import send_demo_command
from streams.records import DemoCommand
from streams.topics import Topics
from twin.errors import LivetwinError


class CommandNotSent(LivetwinError):
    """The broker did not take the command."""

    retriable = True


async def switch_fault(bootstrap: str, topics: Topics, command: DemoCommand) -> None:
    """Send it, acknowledged.

    Raises:
        CommandNotSent: no broker there, or no topic.
    """
    try:
        await send_demo_command(bootstrap, topics, command, request_timeout_ms=10_000)
    except KafkaError as error:
        raise CommandNotSent(
            f"{command.fault} at {command.asset}: {bootstrap} answered {error!r}; nothing was switched. Does livetwin run there?"
        ) from error
