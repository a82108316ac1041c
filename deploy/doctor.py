"""`livetwin doctor`: what a start needs, looked at one by one: settings, Java, Kafka's jars, disk, ports, broker, topics,
checkpoints, weights, store, torch."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.doctor_recovery import Found, look_at_checkpoints, look_at_weights
from deploy.kafka_jars import cache_folder, ready_jars
from deploy.kafka_java import find_java
from deploy.kafka_probe import answers
from deploy.ports import why_taken
from deploy.roles import bootstrap_of, home_of, weight_sources
from deploy.settings import GatewaySettings, HomeSettings, KafkaSettings, StoreSettings, read, refuse_unknown_variables
from deploy.stores import is_embedded_store, open_configured
from deploy.topics import missing_topics
from streams.topics import Topics
from twin.errors import LivetwinError

_LEAST_FREE_MIB = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `note`: not as it will be once livetwin runs, and no fault."""

    state: Literal["ok", "note", "fault"]
    subject: str
    found: str


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; a fault does not stop the rest."""
    for subject, look in _LOOKS:
        try:
            found = look()
        except LivetwinError as error:
            found = Finding("fault", subject, str(error))
        yield found


def _settings() -> Finding:
    refuse_unknown_variables()
    for group in (HomeSettings, KafkaSettings, StoreSettings, GatewaySettings):
        read(group)
    return Finding("ok", "settings", "every LIVETWIN_… variable is known and fits")


def _java() -> Finding:
    java = find_java()
    return Finding("ok", "java", f"{java.major} at {java.path}")


def _jars() -> Finding:
    folder = cache_folder()
    if not folder.exists():
        return Finding("note", "kafka jars", f"not in {folder} yet; the first start fetches 44 MB")
    return Finding("ok", "kafka jars", f"{len(ready_jars(folder))} in {folder}, each as pinned")


def _disk() -> Finding:
    home = home_of(read(HomeSettings))
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free_mib = shutil.disk_usage(there).free // 2**20
    if free_mib < _LEAST_FREE_MIB:
        return Finding("fault", "disk", f"{home}: {free_mib} MiB free, expected at least {_LEAST_FREE_MIB} MiB; free some space")
    return Finding("ok", "disk", f"{home}: {free_mib} MiB free")


def _gateway_port() -> Finding:
    settings = read(GatewaySettings)
    reason = why_taken(settings.gateway_port, settings.gateway_host)
    if reason is None:
        return Finding("ok", "gateway port", f"{settings.gateway_port} is free")
    return Finding(
        "note", "gateway port", f"{settings.gateway_port}: {reason}; fine if that is livetwin, else set LIVETWIN_GATEWAY_PORT"
    )


def _broker() -> Finding:
    settings = read(KafkaSettings)
    bootstrap = bootstrap_of(settings)
    if answers(bootstrap):
        return Finding("ok", "broker", f"{bootstrap} answers")
    if settings.kafka != "embedded":
        return Finding("fault", "broker", f"{bootstrap} does not answer a metadata request; check LIVETWIN_KAFKA and the network")
    reason = why_taken(settings.kafka_port)
    if reason:
        return Finding("fault", "broker", f"port {settings.kafka_port}: {reason}, and it is no Kafka; set LIVETWIN_KAFKA_PORT")
    return Finding("note", "broker", f"the embedded one does not run; `livetwin up` starts it on {bootstrap}")


def _topics() -> Finding:
    settings = read(KafkaSettings)
    bootstrap = bootstrap_of(settings)
    if not answers(bootstrap):
        return Finding("note", "topics", "not looked at without a broker")
    missing = asyncio.run(missing_topics(bootstrap, Topics(settings.topic_prefix)))
    if missing:
        return Finding("note", "topics", f"{', '.join(missing)}: not there; `livetwin topics` creates them")
    return Finding("ok", "topics", f"all of {settings.topic_prefix}* exist")


def _checkpoints() -> Finding:
    found = _looked(look_at_checkpoints)
    if found is None:
        return Finding("note", "checkpoints", "not looked at without a broker and its topics")
    return Finding("ok" if found[0] else "note", "checkpoints", found[1])


def _weights() -> Finding:
    found = _looked(lambda bootstrap, topics: look_at_weights(bootstrap, topics, weight_sources()))
    if found is None:
        return Finding("note", "weights", "not looked at without a broker and its topics")
    return Finding("ok" if found[0] else "fault", "weights", found[1])


def _looked(look: Callable[[str, Topics], Coroutine[None, None, Found]]) -> Found | None:
    """What is found on a broker that answers and has the topics; None without one."""
    settings = read(KafkaSettings)
    bootstrap, topics = bootstrap_of(settings), Topics(settings.topic_prefix)
    if not answers(bootstrap) or asyncio.run(missing_topics(bootstrap, topics)):
        return None
    return asyncio.run(look(bootstrap, topics))


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("fault", "torch", f"can't be imported ({error}); install livetwin's requirements again")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return Finding("ok", "torch", f"{torch.__version__} on {device}")


def _store() -> Finding:
    settings = read(StoreSettings)
    kind, _, rest = settings.store.partition(":")
    if not is_embedded_store(settings.store):
        try:
            store = open_configured()
            try:
                size_mib = store.size_bytes() / 2**20
            finally:
                store.close()
        except LivetwinError as error:
            return Finding("fault", "store", str(error))
        return Finding("ok", "store", f"{kind} at {rest}: {size_mib:.1f} MiB")
    where = rest or str(Path(home_of(read(HomeSettings))) / "store.duckdb")
    return Finding("ok", "store", f"{kind} at {where}")


_LOOKS: tuple[tuple[str, Callable[[], Finding]], ...] = (
    ("settings", _settings),
    ("java", _java),
    ("kafka jars", _jars),
    ("disk", _disk),
    ("gateway port", _gateway_port),
    ("broker", _broker),
    ("topics", _topics),
    ("checkpoints", _checkpoints),
    ("weights", _weights),
    ("store", _store),
    ("torch", _torch),
)
