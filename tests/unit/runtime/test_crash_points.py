"""A process ends at its crash point, and nowhere else."""

import os
import signal
from collections.abc import Iterator

import pytest

from services.runtime import crash_points
from services.runtime.crash_points import CrashPoint
from services.runtime.errors import SettingsError

HERE = CrashPoint("tests.here", "A test is here.")
ELSEWHERE = CrashPoint("tests.elsewhere", "A test is elsewhere.")


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that this process sent itself."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: sent.append(number))
    yield sent
    crash_points.arm("")


def test_nothing_ends_a_process_without_a_crash_point(ends: list[int]) -> None:
    HERE.reached()
    assert ends == []


@pytest.mark.parametrize(
    ("setting", "number"),
    [("tests.here", signal.SIGKILL), ("tests.here:stop", signal.SIGSTOP)],
)
def test_a_process_ends_or_stops_the_first_time_it_reaches_its_point(
    ends: list[int], setting: str, number: int
) -> None:
    crash_points.arm(setting)
    ELSEWHERE.reached()
    assert ends == []
    HERE.reached()
    HERE.reached()
    assert ends == [number]


def test_a_process_ends_the_nth_time_it_reaches_its_point(ends: list[int]) -> None:
    crash_points.arm("tests.here:3")
    HERE.reached()
    HERE.reached()
    assert ends == []
    HERE.reached()
    assert ends == [signal.SIGKILL]


@pytest.mark.parametrize("setting", ["tests.nowhere", "here", "tests.here:0", "tests.here:stop:2"])
def test_a_point_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match="RECURRING_CRASH_POINT"):
        crash_points.arm(setting)


def test_two_points_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tests\.here"):
        CrashPoint("tests.here", "Again.")
