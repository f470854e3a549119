"""Ports on this machine: which are free, and who holds one that is not."""

import contextlib
import errno
import socket
import time
from collections.abc import Callable

import psutil

from deploy.embedded.process import PartError, Process

HOST = "127.0.0.1"
POLL_SECONDS = 0.05
RELEASE_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 1.0


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on now, all different."""
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def becomes_free(port: int) -> bool:
    """Whether a server can listen on the port, now or in a moment.

    The threads of a process that was just stopped may hold its port a little longer than it counts as
    running.
    """
    deadline = time.monotonic() + RELEASE_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def holder(port: int) -> str:
    """Name the program that listens on the port, as far as this account may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    return "another program"


def accepts(host: str, port: int) -> bool:
    """Whether something answers at the address."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def wait_until_ready(process: Process, ready: Callable[[], bool], timeout_seconds: float) -> None:
    """Return once `ready` says so; raises PartError, with the log's end, if it never does."""
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if process.find() is None:
            raise PartError(f"{process.name} ended while it started\n{_log(process)}")
        if time.monotonic() > deadline:
            message = f"{process.name} is not ready after {timeout_seconds:g} s\n{_log(process)}"
            raise PartError(message)
        time.sleep(POLL_SECONDS)


def _log(process: Process) -> str:
    lines = process.log_tail().replace("\n", "\n    ")
    return f"  {process.log_file} ends with\n    {lines}"
