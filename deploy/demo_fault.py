"""Tell the demo plant to begin or end a fault: one record on `demo.commands`."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from streams.clients import producer
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
    sender = producer(bootstrap, client_id="livetwin-demo-fault", request_timeout_ms=10_000)
    key = f"fault/{command.fault}/{command.asset}".encode()
    try:
        await sender.start()
        await sender.send_and_wait(topics.demo_commands, command.to_bytes(), key=key)
    except KafkaError as error:
        raise CommandNotSent(
            f"{command.fault} at {command.asset}: {bootstrap} answered {error!r}; nothing was switched. Does livetwin run there?"
        ) from error
    finally:
        await sender.stop()
