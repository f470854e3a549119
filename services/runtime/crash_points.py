"""Crash points: named moments at which a test ends or stops the process.

A fault suite sets RECURRING_CRASH_POINT to see what others make of a process that is gone between two
statements that belong together, or that wakes up there long after its lease. Without the setting, which
production refuses, a point does nothing.
"""

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from services.runtime.errors import SettingsError

# A point, which of its times counts (the first, if none is given), and whether the process only stops.
PATTERN = r"^([a-z]+\.[a-z_]+(:[1-9][0-9]{0,5})?(:stop)?)?$"

_points: dict[str, "CrashPoint"] = {}
_armed: "_Armed | None" = None


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A moment that a process can be ended at."""

    name: str
    # What is done by then, and what is not.
    meaning: str

    def __post_init__(self) -> None:
        if self.name in _points:
            raise ValueError(f"two crash points are called {self.name}")
        _points[self.name] = self

    def reached(self) -> None:
        """End the process at once, as by SIGKILL, if this is the point and the time that is set."""
        if _armed is not None:
            _armed.pass_by(self)


@dataclass(slots=True)
class _Armed:
    name: str
    nth: int
    number: signal.Signals
    passed_count: int = field(default=0, init=False)

    def pass_by(self, point: CrashPoint) -> None:
        if point.name != self.name:
            return
        self.passed_count += 1
        if self.passed_count == self.nth:
            os.kill(os.getpid(), self.number)


def known() -> Mapping[str, CrashPoint]:
    """All points of the modules that are imported, by name."""
    return MappingProxyType(_points)


def arm(setting: str) -> None:
    """Choose the point of this process: `name`, `name:nth`, `name:stop` or `name:nth:stop`.

    Raises SettingsError if the process has no such point.
    """
    global _armed  # noqa: PLW0603 - a process has one end
    if not re.fullmatch(PATTERN, setting):
        raise SettingsError(
            "RECURRING_CRASH_POINT: give NAME, NAME:NTH, NAME:stop or NAME:NTH:stop"
        )
    if not setting:
        _armed = None
        return
    name, *rest = setting.split(":")
    if name not in _points:
        raise SettingsError(f"RECURRING_CRASH_POINT: none of {', '.join(sorted(_points))}")
    nth = next((int(part) for part in rest if part.isdigit()), 1)
    _armed = _Armed(name, nth, signal.SIGSTOP if "stop" in rest else signal.SIGKILL)
