"""`livetwin health ROLE`: whether a role at work on this machine is a member of its consumer group, as the broker sees it.

In:   the role, the broker of the settings.
Out:  nothing, or `RoleAway`. A process that hangs is put out of its group by the broker, so it is noticed here and by no look at
      processes.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from twin.errors import LivetwinError

GroupRole = Literal["processor", "historian", "alerting", "trainer"]
_WITHIN_S = 10.0


class RoleAway(LivetwinError):
    """The role is no member of its group from this machine, or the broker does not say."""

    retriable = True


async def check(bootstrap: str, group: str) -> int:
    """How many members of the group are on this machine.

    Raises:
        RoleAway: none, or the broker did not answer within ten seconds.
    """
    try:
        async with asyncio.timeout(_WITHIN_S):
            hosts = await _hosts(bootstrap, group)
    except (KafkaError, OSError, TimeoutError) as error:
        raise RoleAway(f"group {group}: {bootstrap} did not answer: {error!r}") from error
    here = await asyncio.to_thread(_own_address, bootstrap)
    if here not in hosts:
        raise RoleAway(f"group {group}: no member on {here}, found members on {', '.join(sorted(set(hosts))) or 'no machine'}")
    return hosts.count(here)


async def _hosts(bootstrap: str, group: str) -> list[str]:
    """The address of each member."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        answers = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    return [
        str(host).lstrip("/")
        for answer in answers
        for (_error, _group, _state, _kind, _protocol, members, *_) in answer.groups
        for (_member, _client, host, *_) in members
    ]


def _own_address(bootstrap: str) -> str:
    """The address by which this machine reaches the broker; nothing is sent."""
    host, _, port = bootstrap.split(",")[0].strip().rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))
        return str(probe.getsockname()[0])
