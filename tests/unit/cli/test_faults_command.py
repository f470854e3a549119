"""The command of the fault suite: what it refuses, and what it leaves behind when it is interrupted."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.__main__ import app
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


def refusal(*arguments: str) -> str:
    """What is said of arguments that are refused before anything is started."""
    outcome = CliRunner().invoke(app, ["faults", *arguments])
    assert outcome.exit_code in {1, 2}, outcome.output
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit)
    return " ".join(outcome.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--only", "kil a"), "--only: no fault has 'kil a' in its name"),
        (("--only", "holds run out"), "--only: no fault has 'holds run out' in its name"),
        (("--points", "--only", "kill"), "--only: no crash point has 'kill' in its name"),
        (("--points", "--seed", "1000"), "--seed: there are "),
        (("--points", "--seeds", "3"), "--points goes without --seeds"),
        (("--points", "--history", "x"), "--history goes without --points"),
        (("--history", "x", "--seed", "3"), "--history goes without --seed"),
        (("--history", "x", "--only", "kill"), "--history goes without --only"),
        (("--target", "x", "--processes", "3"), "--target goes without --processes"),
        (("--target", "x", "--points"), "--points goes without --target"),
        (("--real-time",), "--real-time goes with --target alone"),
        (("--history", "/no/such"), "--history: /no/such is no history"),
        (("--target", "/no/such"), "--target: /no/such is no target file"),
    ],
)
def test_an_option_that_cannot_be_is_named(arguments: Sequence[str], complaint: str) -> None:
    assert complaint in refusal(*arguments)


def test_a_name_of_no_fault_is_answered_by_the_kinds_that_there_are() -> None:
    answer = refusal("--only", "nosuch")
    assert "clock, crash, delete, few, full, kill" in answer
    assert len(answer) < 500


ACT = {
    "act": "skip", "customer": 0, "order": 0, "product": "tea", "number": 1, "word": "WAIT",
    "schedule": {}, "twice": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"steps": [{"act": "dance"}]}, "steps[0]: there is no act 'dance'"),
        ({"steps": [{"act": "skip"}]}, "steps[0]: gives no customer, number, order"),
        ({"steps": [{**ACT, "order": 1}]}, "steps[0]: order: there is no 1"),
        ({"steps": [{**ACT, "customer": -1}]}, "steps[0]: customer: there is no -1"),
        ({"steps": [{"fault": "kill paymentz"}]}, "steps[0]: there is no fault 'kill paymentz'"),
        (
            {"steps": [{"advance_hours": 1}, {"fault": "kill payments"}]},
            "steps[1]: gives no after_seconds, for_seconds, nth",
        ),
        ({"steps": [{"fault": "migrate notify", "nth": 1}]}, "steps[0]: gives no after_seconds"),
        ({"steps": [{"wait": 1}]}, "steps[0]: has no act, fault or advance_hours"),
        ({"steps": ["skip"]}, "steps[0]: has no act, fault or advance_hours"),
        ({"steps": [{"advance_hours": "x"}]}, "steps[0]: advance_hours: give a number"),
        ({"steps": None}, "steps: is missing"),
        ({"colour": "red"}, "colour: is not known"),
    ],
)
def test_a_history_that_cannot_be_played_says_where(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    book = json.loads(History(1, {}, [], [{}], [{}], []).to_json())
    history = {name: value for name, value in {**book, **change}.items() if value is not None}
    file = tmp_path / "history.json"
    file.write_text(json.dumps(history))
    assert complaint in refusal("--history", str(file))
