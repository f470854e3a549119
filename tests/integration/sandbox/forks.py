"""Sandbox processes as forks of one process, which has loaded their code.

To load it takes more than most sandboxes of tests do in their lives. A fork has what a process of its
own would have: an environment, its outputs, signals and a status.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
MESSAGE_MAX_BYTES = 65_536
FAILED = 1


class ForkServer:
    """The process that forks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
            )

    def start(self, settings: Mapping[str, str], error_fd: int) -> int:
        """Start a sandbox that logs to a file descriptor; returns its number."""
        socket.send_fds(self._socket, [json.dumps(dict(settings)).encode()], [error_fd])
        return self._answer()

    def wait(self, pid: int) -> int:
        """Wait until a sandbox has ended; returns its status, or a signal's number below 0."""
        self._socket.send(json.dumps(pid).encode())
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait()

    def _answer(self) -> int:
        return int(self._socket.recv(MESSAGE_MAX_BYTES))


@cache
def fork_server() -> ForkServer:
    """The only one; it ends with the tests."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _serve(requests: socket.socket) -> None:
    import sandbox.__main__  # noqa: F401, PLC0415 - it is loaded before the forks

    # Control-C is for the tests, which end their sandboxes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    running: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, MESSAGE_MAX_BYTES, 1)
        if not message:
            break
        request = json.loads(message)
        if descriptors:
            [error_fd] = descriptors
            answer = os.fork()
            if not answer:
                requests.close()
                _become(request, error_fd)
            os.close(error_fd)
            running.add(answer)
        else:
            _, status = os.waitpid(request, 0)
            running.remove(request)
            answer = os.waitstatus_to_exitcode(status)
        requests.send(str(answer).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _become(settings: Mapping[str, str], error_fd: int) -> None:
    """Run a sandbox in this process, and end it."""
    from sandbox.__main__ import main  # noqa: PLC0415 - it is loaded by now

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(error_fd, sys.stderr.fileno())
    os.close(error_fd)
    os.environ.update(settings)
    status = FAILED
    try:
        status = main()
    except BaseException:  # noqa: BLE001 - as Python does at the end of a process
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
