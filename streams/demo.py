"""Switch faults of the demo plant: one sender for page, HTTP and command line.

In:   `DemoCommand`.
Out:  a record on the compacted topic `demo.commands`, acknowledged; a later one for the same fault and asset replaces it.
"""

from __future__ import annotations

from streams import clients
from streams.records import DemoCommand
from streams.topics import Topics


def fault_key(command: DemoCommand) -> bytes:
    """The compaction key.

    >>> fault_key(DemoCommand(fault="leak", asset="junction-101"))
    b'fault/leak/junction-101'
    """
    return f"fault/{command.fault}/{command.asset}".encode()


async def send_demo_command(bootstrap: str, topics: Topics, command: DemoCommand, *, request_timeout_ms: int = 40_000) -> None:
    """Send one command. Whether the plant knows the asset shows on `events`: kind `fault`, or kind `log` with why not.

    Raises:
        KafkaError: the broker can't be reached or refuses; nothing was switched.
    """
    producer = clients.producer(bootstrap, client_id="livetwin-demo", request_timeout_ms=request_timeout_ms)
    try:
        await producer.start()
        await producer.send_and_wait(topics.demo_commands, command.to_bytes(), key=fault_key(command))
    finally:
        await producer.stop()
