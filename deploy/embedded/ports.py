"""Ports on this machine: which are free, and who holds one that is not."""

import contextlib
import errno
import itertools
import math
import os
import random
import socket
import sys
import time
from collections.abc import Callable

import psutil

from deploy.embedded.process import PartError, Process

HOST = "127.0.0.1"
# Below what Linux and the BSDs give to outgoing connections, which may otherwise take the port of a
# server while it is being restarted.
FREE_PORTS = range(20_000, 32_768)
POLL_SECONDS = 0.05
RELEASE_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 3.0
# How long a part that is alive may take to become ready; a machine that does much else is slow.
START_TIMEOUT_SECONDS = 600.0
START_TIMEOUT_VARIABLE = "RECURRING_START_TIMEOUT_SECONDS"
# A part that takes longer than this is named, so that nobody looks at a silent terminal.
NOTICE_SECONDS = 15.0


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on now, all different. Raises PartError if there are too few."""
    ports = random.sample(FREE_PORTS, len(FREE_PORTS))
    free = list(itertools.islice(filter(is_free, ports), count))
    if len(free) < count:
        raise PartError(f"fewer than {count} ports of {FREE_PORTS[0]} to {FREE_PORTS[-1]} are free")
    return free


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


def start_timeout_seconds() -> float:
    """Return how long a part may take to become ready. Raises PartError if that is no number."""
    text = os.environ.get(START_TIMEOUT_VARIABLE) or str(START_TIMEOUT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise PartError(f"{START_TIMEOUT_VARIABLE} is not a number of seconds above 0: {text!r}")
    return seconds


def wait_until_ready(process: Process, ready: Callable[[], bool]) -> None:
    """Return once `ready` says so, however slow the machine is, for as long as the process is alive.

    Raises PartError, with the log's end, if it ends or takes longer than `start_timeout_seconds`; a
    process that is alive is left to go on.
    """
    timeout_seconds = start_timeout_seconds()
    began = time.monotonic()
    noticed = False
    while not ready():
        waited = time.monotonic() - began
        if process.find() is None:
            raise PartError(f"{process.name} ended while it started\n{_log(process)}")
        if waited > timeout_seconds:
            raise PartError(
                f"{process.name} runs, but is not ready after {timeout_seconds:g} s"
                f" ({START_TIMEOUT_VARIABLE} sets how long to wait)\n{_log(process)}"
            )
        if waited > NOTICE_SECONDS and not noticed:
            noticed = True
            sys.stderr.write(f"still waiting for {process.name}; its log: {process.log_file}\n")
        time.sleep(POLL_SECONDS)


def _log(process: Process) -> str:
    lines = process.log_tail().replace("\n", "\n    ")
    return f"  {process.log_file} ends with\n    {lines}"
