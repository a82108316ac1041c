"""Wire `livetwin up`: settings into a `System`, what is in its way told before anything is started."""

from __future__ import annotations

import asyncio
import os

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from deploy.kafka import EmbeddedKafka
from deploy.lock import LockFile, LockHeld
from deploy.logs import set_up_logs
from deploy.ports import why_taken
from deploy.role_plan import plan_roles
from deploy.roles import bootstrap_of, home_of
from deploy.settings import (
    DemoSettings,
    GatewaySettings,
    HomeSettings,
    InfluxDbSettings,
    KafkaSettings,
    ProcessorSettings,
    StoreSettings,
    TrainerSettings,
    read,
)
from deploy.stores import influxdb_access, is_embedded_store
from deploy.supervise import System
from streams.topics import Topics
from twin.errors import LivetwinError

_STOPPING_S = 25.0  # processes whose supervisor was killed need that long at most


class AlreadyUp(LivetwinError):
    """Another `livetwin up` has this home."""


class PortTaken(LivetwinError):
    """Somebody else listens on the gateway's port."""


def run_up(*, processors: int) -> int:
    """Run the system until it is told to stop; the exit status.

    Raises:
        LivetwinError: it can't start; nothing is left running.
    """
    home_settings, kafka_settings, store = read(HomeSettings), read(KafkaSettings), read(StoreSettings)
    gateway, demo = read(GatewaySettings), read(DemoSettings)
    for group in (ProcessorSettings, TrainerSettings):  # a bad value is told here, not by a role that can't start
        read(group)
    if not is_embedded_store(store.store):
        influxdb_access(read(InfluxDbSettings))
    home = home_of(home_settings)
    console = Console(highlight=False)

    def tell(text: str) -> None:
        console.print(f"livetwin: {text}", markup=False, soft_wrap=True)

    lock = _take(home_settings)
    try:
        taken = why_taken(gateway.gateway_port, gateway.gateway_host)
        if taken:
            raise PortTaken(
                f"port {gateway.gateway_port} on {gateway.gateway_host}: {taken}; nothing was started. Stop that process, or "
                f"choose another port by `--port` or LIVETWIN_GATEWAY_PORT"
            )
        set_up_logs("up", file=home / "logs" / "up.log")
        embedded = kafka_settings.kafka == "embedded"
        tell(f"data folder {home}")
        with Progress(
            TextColumn("livetwin: fetching Kafka, once"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
        ) as progress:
            shown = progress.add_task("jars", total=None, visible=False)

            def on_jar(done: int, of: int, _newest: str) -> None:
                progress.update(shown, completed=done, total=of, visible=done < of)

            system = System(
                home=home,
                roles=plan_roles(processors=processors, demo=demo.demo, own_historian=not is_embedded_store(store.store)),
                kafka=EmbeddedKafka(home, port=kafka_settings.kafka_port, progress=on_jar) if embedded else None,
                bootstrap=bootstrap_of(kafka_settings),
                topics=Topics(kafka_settings.topic_prefix),
                partitions=kafka_settings.partitions,
                page=f"http://{_reachable(gateway.gateway_host)}:{gateway.gateway_port}",
                environment={**os.environ, "LIVETWIN_HOME": str(home), "LIVETWIN_KAFKA": bootstrap_of(kafka_settings)},
                held=lock.fd,
                show=lambda line: console.print(line, markup=False, soft_wrap=True),
                tell=tell,
            )
            return asyncio.run(system.run())
    finally:
        lock.release()


def _take(settings: HomeSettings) -> LockFile:
    """The home, refused at once while its supervisor lives, waited for while that one's last processes end."""
    home = home_of(settings)
    path = home / "run" / "up.lock"
    for wait_s in (0.0, _STOPPING_S):
        try:
            return LockFile(path, wait_s=wait_s)
        except LockHeld as held:
            if wait_s or (held.pid is not None and psutil.pid_exists(held.pid)):
                raise AlreadyUp(
                    f"{home}: livetwin runs there already (process {held.pid}); nothing was started. Stop that one, or choose "
                    f"another folder by LIVETWIN_HOME"
                ) from held
    raise AssertionError("unreachable")


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
