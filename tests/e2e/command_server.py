"""Runs commands in forks of one process, which has loaded the code of all of them.

To load it takes two seconds, more than most commands run. A command has what a process of its own
would have: arguments, an environment, both outputs and a status.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

FAILED = 1


class CommandServer:
    """The process that forks. One command runs at a time."""

    def __init__(self, folder: Path, cwd: Path) -> None:
        self._outputs = folder / "stdout", folder / "stderr"
        self._turn = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; both outputs are kept."""
        assert self._process.stdin
        assert self._process.stdout
        with self._turn:
            outputs = [str(path) for path in self._outputs]
            print(
                json.dumps([outputs, arguments, dict(environment)]),
                file=self._process.stdin,
                flush=True,
            )
            status = int(self._process.stdout.readline())
            texts = [path.read_text() for path in self._outputs]
            return subprocess.CompletedProcess(arguments, status, *texts)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _serve() -> None:
    import cli.__main__  # noqa: F401, PLC0415 - it is loaded before the forks

    for line in sys.stdin:
        outputs, arguments, environment = json.loads(line)
        child = os.fork()
        if not child:
            _become(outputs, arguments, environment)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(
    outputs: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Run a command in this process, and end it."""
    from cli.__main__ import app  # noqa: PLC0415 - it is loaded by now

    for descriptor, path in enumerate((os.devnull, *outputs)):
        flags = os.O_RDWR if path == os.devnull else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["recurring", *arguments]
    status = FAILED
    try:
        app()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else FAILED
    except BaseException:  # noqa: BLE001 - as Python does at the end of a process
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
