"""The command of the fault suite: what it refuses, and what it leaves behind when it is interrupted."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.faults import command
from cli.faults.command import Choice
from cli.faults.crashes import in_thread
from cli.faults.history import History
from cli.faults.play import Player, Report
from cli.faults.target import Fault, does, nothing

FAULTS = {"kill payments": Fault(does(nothing), nothing)}


async def interrupted(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_a_thread_has_begun_is_over_before_an_interruption_goes_on() -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def start() -> None:
        began.set()
        may_end.wait()
        ended.set()

    task = asyncio.create_task(in_thread(start))
    await asyncio.to_thread(began.wait)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_stack_whose_start_is_interrupted_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts, closed = asyncio.Event(), list[Path]()

    class Target:
        def __init__(self, home: Path, _processes: int) -> None:
            self._home = home

        async def open(self) -> None:
            starts.set()
            await asyncio.sleep(60)

        async def close(self) -> None:
            closed.append(self._home)

    monkeypatch.setattr(command, "_own_type", lambda: Target)

    async def use() -> None:
        async with command._own_stack():
            pytest.fail("it never comes up")

    task = asyncio.create_task(use())
    await starts.wait()
    await interrupted(task)
    assert len(closed) == 1
    assert not closed[0].parent.exists()


def place(faults: Mapping[str, Fault]) -> object:
    @asynccontextmanager
    async def there() -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(faults=faults)

    return lambda _choice: (there, faults, True)


async def test_an_interrupted_run_says_what_was_played_and_what_was_not_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = asyncio.Event()

    async def play(_player: Player, history: History) -> Report:
        if history.seed == 2:
            second.set()
            await asyncio.sleep(60)
        return Report(history.seed, actions=7)

    monkeypatch.setattr(Player, "play", play)
    monkeypatch.setattr(command, "_place", place(FAULTS))
    task = asyncio.create_task(command._run(Choice(seeds=range(1, 9))))
    await second.wait()
    await interrupted(task)
    printed = capsys.readouterr().out
    assert "1 histories" in printed
    assert "7 actions" in printed
    assert "interrupted: seed 2 was not played to its end" in printed
