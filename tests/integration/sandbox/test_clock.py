"""The simulated clock, with plain HTTP clients as services."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from typing_extensions import override

from cli.sandbox import Sandbox as Client
from tests.integration.sandbox.process import Sandbox, StartSandbox

START = datetime.fromisoformat("2026-01-31T08:00:00+00:00")
# Within which a clock that nobody holds is advanced.
HELD_SECONDS = 0.5


def hours(number: int) -> datetime:
    return START + timedelta(hours=number)


@dataclass
class Service:
    """Reports to the clock for ever, as a service does; `work` is what it does in between."""

    sandbox: Sandbox
    name: str
    instance: str = "a"
    wakes: list[datetime] = field(default_factory=list)
    activity: int = 0
    done: list[tuple[datetime, str]] = field(default_factory=list)

    async def run(self) -> None:
        clock = (await self.sandbox.ask("GET", "/clock")).body
        while True:
            now = datetime.fromisoformat(clock["now"])
            quiet = await self.work(now)
            wake_at = self.wake_at(now)
            report = {
                "round": clock["round"],
                "quiet": quiet,
                "activity": self.activity,
                "wake_at": wake_at.isoformat() if wake_at else None,
            }
            path = f"/clock/participants/{self.name}/{self.instance}"
            clock = (await self.sandbox.ask("POST", path, json=report)).body

    async def work(self, now: datetime) -> bool:
        for wake in [wake for wake in self.wakes if wake <= now]:
            self.wakes.remove(wake)
            self.do(now, "woke")
        return True

    def do(self, now: datetime, what: str) -> None:
        self.activity += 1
        self.done.append((now, what))

    def wake_at(self, _: datetime) -> datetime | None:
        return min(self.wakes, default=None)


Run = Callable[..., list[asyncio.Task[None]]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    tasks: list[asyncio.Task[None]] = []

    def begin(*services: Service) -> list[asyncio.Task[None]]:
        begun = [asyncio.create_task(service.run()) for service in services]
        tasks.extend(begun)
        return begun

    yield begin
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError, aiohttp.ClientError):
            await task


@pytest.fixture
async def pair(start_sandbox: StartSandbox) -> Sandbox:
    """A sandbox that expects two services; even a loaded machine has time for all rounds of a step."""
    return await start_sandbox(
        SANDBOX_EXPECTED_SERVICES="scheduler,payments", SANDBOX_SETTLE_TIMEOUT_SECONDS="60"
    )


@pytest.fixture
async def impatient_pair(start_sandbox: StartSandbox) -> Sandbox:
    return await start_sandbox(
        SANDBOX_EXPECTED_SERVICES="scheduler,payments", SANDBOX_SETTLE_TIMEOUT_SECONDS="0.5"
    )


async def lines_of(sandbox: Sandbox, path: str, **body: object) -> list[dict[str, Any]]:
    async with sandbox.http.post(f"{sandbox.url}/clock/{path}", json=body) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/x-ndjson"
        return [json.loads(line) async for line in response.content]


async def test_the_clock_goes_from_wake_to_wake_and_stops_at_its_end(
    pair: Sandbox, run: Run
) -> None:
    scheduler = Service(pair, "scheduler", wakes=[hours(1), hours(3), hours(9)])
    payments = Service(pair, "payments", wakes=[hours(2)])
    run(scheduler, payments)
    lines = await lines_of(pair, "advance", to="2026-01-31T12:00:00Z")

    assert lines == [
        {"now": "2026-01-31T09:00:00Z", "steps": 1},
        {"now": "2026-01-31T10:00:00Z", "steps": 2},
        {"now": "2026-01-31T11:00:00Z", "steps": 3},
        {"now": "2026-01-31T12:00:00Z", "steps": 4},
        {"now": "2026-01-31T12:00:00Z", "steps": 4, "done": True},
    ]
    assert scheduler.done == [(hours(1), "woke"), (hours(3), "woke")]
    assert payments.done == [(hours(2), "woke")]


@dataclass
class Correspondent(Service):
    """Handles at most one letter in each round, and answers it until `letters` are written."""

    inbox: list[int] = field(default_factory=list)
    other: "Correspondent | None" = None
    letters: int = 5

    @override
    async def work(self, now: datetime) -> bool:
        if self.inbox:
            letter = self.inbox.pop()
            self.do(now, f"letter {letter}")
            if letter < self.letters and self.other is not None:
                self.other.inbox.append(letter + 1)
            return True
        return await super().work(now)


async def test_a_long_exchange_of_messages_happens_at_one_moment(pair: Sandbox, run: Run) -> None:
    scheduler = Correspondent(pair, "scheduler", inbox=[1])
    payments = Correspondent(pair, "payments", other=scheduler)
    scheduler.other = payments
    run(scheduler, payments)
    await lines_of(pair, "advance", seconds=3600)

    assert scheduler.done == [(START, f"letter {number}") for number in (1, 3, 5)]
    assert payments.done == [(START, f"letter {number}") for number in (2, 4)]


@dataclass
class Busy(Service):
    """Is busy at its one moment until it is released, however often it reports."""

    at: datetime = START
    released: asyncio.Event = field(default_factory=asyncio.Event)
    reported_busy: asyncio.Event = field(default_factory=asyncio.Event)

    @override
    async def work(self, now: datetime) -> bool:
        if now != self.at or self.released.is_set():
            return True
        if self.activity:
            self.reported_busy.set()
        self.do(now, "worked")
        return False


async def test_the_clock_waits_for_every_process_of_a_service(pair: Sandbox, run: Run) -> None:
    busy = Busy(pair, "payments", "b")
    run(Service(pair, "scheduler"), Service(pair, "payments", "a"), busy)
    advance = asyncio.create_task(lines_of(pair, "advance", seconds=60))
    await busy.reported_busy.wait()
    meanwhile = (await pair.ask("GET", "/clock")).body
    busy.released.set()

    assert (meanwhile["now"], meanwhile["advancing"]) == ("2026-01-31T08:00:00Z", True)
    assert (await advance)[-1]["done"] is True
    assert all(moment == START for moment, _ in busy.done)


async def test_a_missing_service_is_named(impatient_pair: Sandbox, run: Run) -> None:
    run(Service(impatient_pair, "scheduler"))
    [line] = await lines_of(impatient_pair, "advance", seconds=60)

    assert line["waiting_for"] == ["payments: no process of it is present"]
    assert (await impatient_pair.ask("GET", "/clock")).body["now"] == "2026-01-31T08:00:00Z"


async def test_a_busy_service_is_named(impatient_pair: Sandbox, run: Run) -> None:
    run(Service(impatient_pair, "scheduler"), Busy(impatient_pair, "payments"))
    [line] = await lines_of(impatient_pair, "settle")

    assert line["waiting_for"] == ["payments/a: busy"]


class Overdue(Service):
    @override
    def wake_at(self, now: datetime) -> datetime:
        return now - timedelta(seconds=1)


async def test_a_quiet_service_overdue_for_ever_is_named(pair: Sandbox, run: Run) -> None:
    run(Service(pair, "scheduler"), Overdue(pair, "payments"))
    [line] = await lines_of(pair, "advance", seconds=60)

    assert line["waiting_for"] == ["payments/a: quiet, yet wants to wake at 2026-01-31T07:59:59Z"]


class Restless(Service):
    @override
    async def work(self, now: datetime) -> bool:
        self.do(now, "something")
        return True


async def test_a_service_that_never_rests_is_named(pair: Sandbox, run: Run) -> None:
    run(Service(pair, "scheduler"), Restless(pair, "payments"))
    [line] = await lines_of(pair, "advance", seconds=60)

    assert line["waiting_for"] == ["payments/a: its activity keeps growing"]


async def test_a_service_may_come_back_during_a_step(pair: Sandbox, run: Run) -> None:
    run(Service(pair, "scheduler"))
    advance = asyncio.create_task(lines_of(pair, "advance", seconds=60))
    await pair.clock_when(lambda clock: clock["advancing"])
    run(Service(pair, "payments"))

    assert (await advance)[-1]["done"] is True


async def test_the_clock_does_not_wait_for_a_killed_process_whose_heir_is_there(
    pair: Sandbox, run: Run
) -> None:
    [_, killed] = run(Service(pair, "scheduler"), Service(pair, "payments", "killed"))
    await lines_of(pair, "settle")
    killed.cancel()
    run(Service(pair, "payments", "heir"))
    await lines_of(pair, "advance", seconds=60)
    clock = (await pair.ask("GET", "/clock")).body

    assert [participant["instance"] for participant in clock["participants"]] == ["heir", "a"]


async def test_the_clock_does_not_wait_for_a_process_that_was_killed_at_work(
    start_sandbox: StartSandbox, run: Run
) -> None:
    """Its connection tells: it would be waited for longer than the clock has patience here."""
    sandbox = await start_sandbox(
        SANDBOX_EXPECTED_SERVICES="scheduler", SANDBOX_SETTLE_TIMEOUT_SECONDS="4"
    )
    report = {"round": -1, "quiet": True, "activity": 0, "wake_at": None}
    async with (
        aiohttp.ClientSession() as killed,
        killed.post(f"{sandbox.url}/clock/participants/scheduler/killed", json=report) as answer,
    ):
        assert answer.status == 200
        await answer.read()
    run(Service(sandbox, "scheduler", "heir"))

    assert (await lines_of(sandbox, "advance", seconds=60))[-1]["done"] is True


async def test_a_client_that_goes_away_stops_the_advance_after_the_step(
    pair: Sandbox, run: Run
) -> None:
    busy = Busy(pair, "payments", at=hours(2))
    run(Service(pair, "scheduler", wakes=[hours(1), hours(2), hours(3)]), busy)
    async with pair.http.post(f"{pair.url}/clock/advance", json={"seconds": 36_000}) as response:
        await response.content.readline()
        await busy.reported_busy.wait()
        response.close()
    await pair.ask("GET", "/clock")
    busy.released.set()
    clock = await pair.clock_when(lambda clock: not clock["advancing"])

    assert clock["now"] == "2026-01-31T10:00:00Z"


async def test_settle_runs_rounds_and_leaves_the_time_alone(pair: Sandbox, run: Run) -> None:
    run(Service(pair, "scheduler", wakes=[hours(1)]), Service(pair, "payments"))
    before = (await pair.ask("GET", "/clock")).body["round"]
    lines = await lines_of(pair, "settle")
    after = (await pair.ask("GET", "/clock")).body["round"]

    assert lines == [{"now": "2026-01-31T08:00:00Z", "steps": 0, "done": True}]
    assert after >= before + 2


async def test_the_clock_stands_still_while_a_client_holds_it(pair: Sandbox, run: Run) -> None:
    run(Service(pair, "scheduler"), Service(pair, "payments"))
    client = Client(pair.url)
    async with client.clock_held():
        advance = asyncio.create_task(lines_of(pair, "advance", seconds=60))
        await pair.clock_when(lambda clock: clock["advancing"])
        await asyncio.sleep(HELD_SECONDS)
        assert await client.now() == START
    lines = await advance
    await client.close()

    assert lines[-1] == {"now": "2026-01-31T08:01:00Z", "steps": 1, "done": True}


async def test_only_one_advance_is_under_way_at_a_time(pair: Sandbox) -> None:
    first = asyncio.create_task(lines_of(pair, "advance", seconds=60))
    await pair.clock_when(lambda clock: clock["advancing"])
    second = await pair.ask("POST", "/clock/advance", json={"seconds": 60})
    first.cancel()

    assert second.status == 409


async def test_the_clock_shows_who_takes_part(pair: Sandbox, run: Run) -> None:
    run(Service(pair, "payments", "x1", wakes=[hours(1)]), Service(pair, "scheduler"))
    await lines_of(pair, "settle")
    clock = (await pair.ask("GET", "/clock")).body
    payments, scheduler = clock["participants"]

    assert (scheduler["name"], clock["advancing"]) == ("scheduler", False)
    assert payments == {
        "name": "payments",
        "instance": "x1",
        "round": payments["round"],
        "quiet": True,
        "activity": 0,
        "wake_at": "2026-01-31T09:00:00Z",
    }


async def test_a_report_of_an_earlier_round_is_answered_at_once(pair: Sandbox) -> None:
    clock = (await pair.ask("GET", "/clock")).body
    report = {"round": clock["round"] - 1, "quiet": True, "activity": 0, "wake_at": None}
    answer = await pair.ask("POST", "/clock/participants/payments/a", json=report)

    assert answer.body == {"now": clock["now"], "round": clock["round"]}


async def test_the_clock_and_its_services_go_on_after_a_kill(pair: Sandbox, run: Run) -> None:
    run(Service(pair, "scheduler"), Service(pair, "payments"))
    await lines_of(pair, "advance", seconds=3600)
    before = (await pair.ask("GET", "/clock")).body
    await pair.kill_and_restart()
    after = (await pair.ask("GET", "/clock")).body
    run(Service(pair, "scheduler"), Service(pair, "payments"))
    lines = await lines_of(pair, "advance", seconds=3600)

    assert after["now"] == before["now"] == "2026-01-31T09:00:00Z"
    assert after["round"] > before["round"]
    assert lines[-1] == {"now": "2026-01-31T10:00:00Z", "steps": 1, "done": True}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": 1.5},
        {"seconds": 10**30},
        {"to": "2026-01-31T08:00:00Z"},
        {"to": "2026-02-01T08:00:00"},
        {"to": "tomorrow"},
    ],
)
async def test_the_clock_moves_forward_only(pair: Sandbox, body: object) -> None:
    answer = await pair.ask("POST", "/clock/advance", json=body)

    assert (answer.status, bool(answer.body["error"])) == (400, True)


@pytest.mark.parametrize(
    "changes",
    [{"round": "1"}, {"quiet": 1}, {"activity": None}, {"wake_at": "soon"}],
)
async def test_a_malformed_report_is_refused(pair: Sandbox, changes: dict[str, object]) -> None:
    report = {"round": 0, "quiet": True, "activity": 0, "wake_at": None, **changes}
    answer = await pair.ask("POST", "/clock/participants/payments/a", json=report)

    assert (answer.status, next(iter(changes)) in answer.body["error"]) == (400, True)
