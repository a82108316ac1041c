"""`livetwin doctor`: what a start and a running system need, looked at one by one; each finding that is not well has a way out.

This machine here (settings, Java, Kafka's jars, disk, port, torch); the broker in `deploy.doctor_broker`, what a
take-over finds there in `deploy.doctor_recovery`, store and registry in `deploy.doctor_services`. Nothing is changed by looking.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

from deploy import doctor_broker, doctor_services
from deploy.finding import Finding, fault, note, ok
from deploy.kafka_jars import cache_folder, ready_jars
from deploy.kafka_java import find_java
from deploy.ports import why_taken
from deploy.roles import home_of
from deploy.settings import (
    GROUPS,
    GatewaySettings,
    HomeSettings,
    KafkaSettings,
    read,
    refuse_unknown_variables,
)
from twin.errors import LivetwinError

_LEAST_FREE_MIB = 1024


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; a fault does not stop the rest."""
    for subject, look, way_out in _LOOKS:
        try:
            found = look()
        except LivetwinError as error:
            found = fault(subject, str(error), way_out)
        yield found
    try:
        yield from doctor_broker.examine()
    except LivetwinError as error:
        yield fault("broker", str(error), "correct LIVETWIN_KAFKA and LIVETWIN_TOPIC_PREFIX (docs/settings.md)")
    yield from doctor_services.examine()
    yield _torch()


def _settings() -> Finding:
    refuse_unknown_variables()
    for group in GROUPS:
        read(group)
    return ok("settings", "every LIVETWIN_… variable is known and fits")


def _java() -> Finding:
    java = find_java()
    return ok("java", f"{java.major} at {java.path}")


def _jars() -> Finding:
    folder = cache_folder()
    if not folder.exists():
        return note(
            "kafka jars", f"not in {folder} yet", "the first start fetches 44 MB; without a network, copy the folder here"
        )
    return ok("kafka jars", f"{len(ready_jars(folder))} in {folder}, each as pinned")


def _disk() -> Finding:
    home = home_of(read(HomeSettings))
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free_mib = shutil.disk_usage(there).free // 2**20
    if free_mib < _LEAST_FREE_MIB:
        found = f"{home}: {free_mib} MiB free, expected at least {_LEAST_FREE_MIB} MiB"
        return fault("disk", found, "free some space, set LIVETWIN_HOME to another disk, or lower LIVETWIN_STORE_MAX_MIB")
    return ok("disk", f"{home}: {free_mib} MiB free")


def _gateway_port() -> Finding:
    settings = read(GatewaySettings)
    reason = why_taken(settings.gateway_port, settings.gateway_host)
    if reason is None:
        return ok("gateway port", f"{settings.gateway_port} is free")
    return note("gateway port", f"{settings.gateway_port}: {reason}", "fine if that is livetwin, else set LIVETWIN_GATEWAY_PORT")


def _kafka_port() -> Finding:
    settings = read(KafkaSettings)
    if settings.kafka != "embedded":
        return ok("kafka port", "none is needed here: the broker is another's")
    reason = why_taken(settings.kafka_port)
    if reason is None:
        return ok("kafka port", f"{settings.kafka_port} is free")
    return note(
        "kafka port", f"{settings.kafka_port}: {reason}", "fine if that is livetwin's Kafka, else set LIVETWIN_KAFKA_PORT"
    )


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return fault("torch", f"can't be imported ({error})", "install livetwin's requirements again: `make environment`")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return ok("torch", f"{torch.__version__} on {device}")


# subject, the look, what to do where it raises
_LOOKS: tuple[tuple[str, Callable[[], Finding], str], ...] = (
    ("settings", _settings, "correct the variable; docs/settings.md lists all"),
    ("java", _java, "install a Java 17 or newer and set JAVA_HOME, or use another broker by LIVETWIN_KAFKA"),
    ("kafka jars", _jars, "delete the folder: the next start fetches the jars anew"),
    ("disk", _disk, "correct LIVETWIN_HOME"),
    ("gateway port", _gateway_port, "correct LIVETWIN_GATEWAY_HOST and LIVETWIN_GATEWAY_PORT"),
    ("kafka port", _kafka_port, "correct LIVETWIN_KAFKA_PORT"),
)
