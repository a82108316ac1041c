"""TCP ports of this machine: one that is free, and who has one that is not."""

from __future__ import annotations

import socket

import psutil

HOST = "127.0.0.1"


def free_port(host: str = HOST) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def why_taken(port: int, host: str = HOST) -> str | None:
    """None when the port can be listened on, else the system's reason and who listens."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a process just stopped left in TIME_WAIT is free
        try:
            probe.bind(address)
        except OSError as error:
            return f"{error.strerror}, {listener(port)}"
    return None


def listener(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
                return f"held by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):  # macOS tells root only
        pass
    return "held by a process this user can't see"
