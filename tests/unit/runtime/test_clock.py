"""The time of a process is its database's, whatever the clock of its machine does."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.workers.clock import DatabaseClock, Machine

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class ManualMachine(Machine):
    """Its clock is an hour slow; time passes when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.off_seconds = -3600.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - 1000 + self.off_seconds)

    def step(self, seconds: float) -> None:
        self.off_seconds += seconds

    def elapsed_seconds(self) -> float:
        return self.seconds

    def true_time(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - 1000)


def look(clock: DatabaseClock, machine: ManualMachine, there: float = 0, back: float = 0) -> None:
    """Ask the database, whose answer takes so many seconds there and back."""

    async def ask() -> datetime:
        machine.seconds += there
        answer = machine.true_time()
        machine.seconds += back
        return answer

    asyncio.run(clock.read(ask))


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_machine_whose_clock_steps_has_the_time_of_the_database(
    step: float, later: float
) -> None:
    machine = ManualMachine()
    clock = DatabaseClock(machine)
    look(clock, machine)
    machine.step(step)
    machine.seconds += later
    assert abs(clock.now() - machine.true_time()) < timedelta(milliseconds=1)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 100)), min_size=1, max_size=9)
)
def test_a_slow_answer_makes_no_clock_worse_and_none_early(
    answers: list[tuple[float, float, float]],
) -> None:
    machine = ManualMachine()
    clock = DatabaseClock(machine)
    best = float("inf")
    for there, back, pause in answers:
        look(clock, machine, there, back)
        best = min(best, there + back)
        machine.seconds += pause
        late = machine.true_time() - clock.now()
        assert -timedelta(milliseconds=1) < late < timedelta(seconds=best, milliseconds=1)


def test_a_database_that_is_moved_to_another_clock_takes_the_process_along() -> None:
    machine = ManualMachine()
    clock = DatabaseClock(machine)
    look(clock, machine)

    async def of_another_server() -> datetime:
        return machine.true_time() + timedelta(minutes=2)

    asyncio.run(clock.read(of_another_server))
    assert clock.now() == machine.true_time() + timedelta(minutes=2)


def test_a_clock_that_differs_is_one_line_in_the_log_and_its_end_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    machine = ManualMachine()
    clock = DatabaseClock(machine)
    for _ in range(3):
        look(clock, machine)
    machine.step(3600)
    for _ in range(3):
        look(clock, machine)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
