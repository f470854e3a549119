"""One process of the stack: started in the background, found again later, stopped for certain.

A process outlives the command that started it, so what is known about it is in a file: its number,
when it was created (a number alone may have been given to another program since) and a fingerprint
of how it was started.
"""

import hashlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from deploy.embedded.files import PRIVATE_UMASK, open_private, private_folder, write_secret

# The kernel counts a start time from the boot time, which moves when the clock is corrected.
CREATE_TIME_TOLERANCE_SECONDS = 2.0
STOP_GRACE_SECONDS = 15.0
KILL_GRACE_SECONDS = 10.0
POLL_SECONDS = 0.02
LOG_TAIL_LINES = 20
# A log that has grown past this is set aside at the next start; one older log is kept.
LOG_MAX_BYTES = 20 * 1024 * 1024

_BECOME = """
import os, sys
uid, gid, *command = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
os.execvp(command[0], command)
"""


class PartError(Exception):
    """A part of the stack did not do what was asked of it; the message is for people."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account a process runs under when it must not be the caller's."""

    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> "Account":
        """Look up the account that root runs PostgreSQL as; raises KeyError if there is none."""
        entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid)

    def command(self, command: Sequence[str]) -> list[str]:
        """The command that becomes this account and then another command, as the same process.

        `subprocess` can change the account too, but forks for it, and what gRPC does in a forked
        process can end that before its program begins.
        """
        account = (str(self.uid), str(self.gid))
        return [sys.executable, "-I", "-S", "-c", _BECOME, *account, *command]


@dataclass(frozen=True, slots=True)
class _Record:
    pid: int
    create_time: float
    fingerprint: str


@dataclass(slots=True)
class Process:
    """A background process with a log file, known by the file that keeps its number."""

    name: str
    command: Sequence[str]
    log_file: Path
    pid_file: Path
    working_folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """Equal for two processes that were started in the same way."""
        parts = [*self.command, *(f"{k}={v}" for k, v in sorted(self.environment.items()))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def find(self) -> psutil.Process | None:
        """Return the running process, or None when it is gone, a zombie or somebody else's."""
        record = self._record()
        if record is None:
            return None
        try:
            process = psutil.Process(record.pid)
            drift_seconds = abs(process.create_time() - record.create_time)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process if drift_seconds < CREATE_TIME_TOLERANCE_SECONDS else None

    def is_current(self) -> bool:
        """Whether it runs and was started as this object would start it."""
        record = self._record()
        return (
            self.find() is not None
            and record is not None
            and record.fingerprint == self.fingerprint
        )

    def start(self) -> None:
        """Start it in a session of its own; does not wait until it is ready."""
        if self.find() is not None:
            raise PartError(f"{self.name} runs already")
        self._remove_pid_file()
        private_folder(self.log_file.parent)
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_MAX_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.old"))
        private_folder(self.pid_file.parent)
        with open_private(self.log_file, "ab") as log:
            self._child = subprocess.Popen(
                self.account.command(self.command) if self.account else list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.working_folder,
                env=dict(self.environment),
                start_new_session=True,
                # What it keeps holds messages, names and phone numbers.
                umask=PRIVATE_UMASK,
            )
        self._write_pid_file(psutil.Process(self._child.pid))

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> bool:
        """Ask it to end, then make it; returns whether it had to be made to."""
        process = self.find()
        forced = False
        if process is not None:
            family = [process, *_children(process)]
            _send(process, self.stop_signal)
            alive = still_alive(family, grace_seconds)
            forced = bool(alive)
            self._end(alive)
        self._remove_pid_file()
        return forced

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would, and wait until all of it is gone.

        Its children are left a moment to end by themselves, as they would after a crash.
        """
        process = self.find()
        if process is not None:
            family = [process, *_children(process)]
            _send(process, signal.SIGKILL)
            self._end(still_alive(family, KILL_GRACE_SECONDS))
        self._remove_pid_file()

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines of its log, or an empty string if there is none."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, alive: Sequence[psutil.Process]) -> None:
        for process in alive:
            _send(process, signal.SIGKILL)
        undead = still_alive(alive, KILL_GRACE_SECONDS)
        if undead:
            numbers = ", ".join(str(process.pid) for process in undead)
            raise PartError(f"{self.name} does not end, not even by SIGKILL (process {numbers})")

    def _record(self) -> _Record | None:
        try:
            record = json.loads(self.pid_file.read_text())
            return _Record(
                int(record["pid"]), float(record["create_time"]), str(record["fingerprint"])
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            # A file cut short by a crash says as little as none.
            return None

    def _write_pid_file(self, process: psutil.Process) -> None:
        record = _Record(process.pid, process.create_time(), self.fingerprint)
        write_secret(self.pid_file, json.dumps(asdict(record)))

    def _remove_pid_file(self) -> None:
        if self._child is not None:
            self._child.wait(timeout=KILL_GRACE_SECONDS)
            self._child = None
        self.pid_file.unlink(missing_ok=True)


def still_alive(
    processes: Sequence[psutil.Process], timeout_seconds: float
) -> list[psutil.Process]:
    """Wait until the processes have ended, and return those that have not in that time.

    A zombie has ended: who its parent is now, and when that one looks, is not for us to wait for.
    """
    deadline = time.monotonic() + timeout_seconds
    alive = [process for process in processes if not _has_ended(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        alive = [process for process in alive if not _has_ended(process)]
    return alive


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
