"""The simulated clock, shared by all four services. It stands still until it is advanced.

An advance is a discrete-event simulation. Every process reports when it next needs to wake. The clock
jumps to the earliest of those moments when no process has anything left to do at the present one. So
months pass in seconds, and no process sees time pass while another one is still working.

Rounds find out whether any work is left. In a round every process checks all that could give it work
(its due rows, its outbox, its undelivered messages). It reports whether all of that is empty (`quiet`),
and `activity`, a number that grows with any work. The round ends when every process has reported quiet.

One quiet round is not enough, since A may report before B sends it a message. Two consecutive rounds
with equal activities prove that no work is left. The sandbox takes part: at the end of a round it sends
what is due, and its activity is how often it has sent. Every report of the first round came before the
second round began, and every report of the second came after it. Equal activities mean that no process
worked between its two reports, so no process was working when the second round began. An event in
transit at that moment would have been in an outbox, in an undelivered message or in a process. The
later reports say that outboxes and messages were empty, and a process that held it would have worked.
So there was none. Only time or an event can start new work, so none starts until the clock moves. The
last round before a jump is also the first of two at the new moment: if no activity has grown since,
nothing was due there, and there is no work.
(This is Mattern's double counting for the detection of termination, with reports instead of message
counters. Calls to the API meanwhile are new work, which the next advance settles.)
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from aiohttp import web

from sandbox.record import Record, bad_request

LONG_POLL_SECONDS = 20.0
BUSY_HOLD_SECONDS = 0.05
"""The answer to a busy process is delayed by this, so that it does not report in a tight loop."""
PRESENCE_SECONDS = 5.0
"""A process that does not report again within this time after an answer is gone, even if its connection
is open still."""
CONNECTION_CHECK_SECONDS = 0.1
PRESENCE_CHECK_SECONDS = 0.5
SETTLE_TIMEOUT_SECONDS = 90.0
"""Long enough for the restart of a process that was killed."""
MAX_ROUNDS_PER_STEP = 500
PAUSE_OF_ROUND, PAUSE_MAX_SECONDS, PAUSES_PER_STEP = 0.5, 0.1, 10
"""After a round with work, the next begins later by this part of the round's duration: events that are
in transit arrive meanwhile, and their work takes no round of its own."""

Emit = Callable[[dict[str, object] | None], None]
# The name and the instance of a process, and how much it has done.
Activities = dict[tuple[str, str], int]
SANDBOX = ("sandbox", "")


@dataclass
class Participant:
    """One running process, as its last report described it."""

    name: str
    instance: str
    round: int
    quiet: bool
    activity: int
    wake_at: datetime | None
    # All that are held open for it, of earlier reports as well.
    open_polls: set[object] = field(default_factory=set)
    answered_at: float = -math.inf
    # Of its last report. It is kept between reports, and closes when the process ends.
    connection: asyncio.Transport | None = None

    def is_present(self) -> bool:
        """Say whether the process is there: its poll is open, or was answered just now."""
        if not self.is_connected():
            return False
        return bool(self.open_polls) or time.monotonic() - self.answered_at < PRESENCE_SECONDS

    def is_connected(self) -> bool:
        """Say whether the connection of its last report is open."""
        return self.connection is not None and not self.connection.is_closing()

    def describe(self) -> dict[str, object]:
        """Return the participant as `GET /clock` shows it."""
        wake_at = format_time(self.wake_at) if self.wake_at else None
        return {
            "name": self.name,
            "instance": self.instance,
            "round": self.round,
            "quiet": self.quiet,
            "activity": self.activity,
            "wake_at": wake_at,
        }


class Messages(Protocol):
    """What the outside world sends to the services by itself, at a time."""

    @property
    def sent_count(self) -> int:
        """How many times anything was sent."""

    def next_due(self) -> datetime | None:
        """When something is to be sent next."""

    async def deliver(self) -> None:
        """Send all that is due now."""


class AllMessages:
    """What several parts of the outside world send."""

    def __init__(self, parts: Sequence[Messages]) -> None:
        self._parts = parts

    @property
    def sent_count(self) -> int:
        """How many times anything was sent."""
        return sum(part.sent_count for part in self._parts)

    def next_due(self) -> datetime | None:
        """When the first of them sends something next."""
        return min(filter(None, (part.next_due() for part in self._parts)), default=None)

    async def deliver(self) -> None:
        """Send all that is due now."""
        for part in self._parts:
            await part.deliver()


class NotSettledError(Exception):
    """The services did not come to rest; `waiting_for` names who kept them from it."""

    def __init__(self, message: str, waiting_for: list[str]) -> None:
        super().__init__(message)
        self.waiting_for = waiting_for


class Clock:
    """The time of the sandbox, and the rounds that find out when it may move on."""

    def __init__(
        self,
        record: Record,
        start: datetime,
        expected_services: frozenset[str],
        settle_timeout_seconds: float = SETTLE_TIMEOUT_SECONDS,
    ) -> None:
        self._record = record
        self._expected = expected_services
        self._settle_timeout_seconds = settle_timeout_seconds
        self._participants: dict[tuple[str, str], Participant] = {}
        self._round_begun = asyncio.Event()
        self._reported = asyncio.Event()
        self._advance: asyncio.Task[None] | None = None
        self._messages: Messages = AllMessages(())
        self._now, self._round = start, 0
        for row in record.read("SELECT now, round FROM clock"):
            # The rounds since the last jump are not on record; skipping past all that there can
            # have been makes sure that a number never stands for two different rounds.
            self._now = datetime.fromisoformat(row["now"])
            self._round = row["round"] + MAX_ROUNDS_PER_STEP + 1

    @property
    def now(self) -> datetime:
        """The present simulated time, aware, in UTC."""
        return self._now

    def carry(self, messages: Messages) -> None:
        """Move only when nothing is left to be sent, and stop where something is."""
        self._messages = messages

    async def keep(self) -> None:
        """Put the time on record."""
        await self._keep(self._now)

    async def close(self) -> None:
        """Answer every open poll, and end an advance."""
        if self._advance is not None:
            self._advance.cancel()
            await asyncio.wait([self._advance])
        self._begin_round()

    def routes(self) -> list[web.RouteDef]:
        """Routes of the clock."""
        return [
            web.get("/clock", self._show),
            web.post("/clock/participants/{service}/{instance}", self._report),
            web.post("/clock/advance", self._start_advance),
            web.post("/clock/settle", self._start_settle),
        ]

    # Requests

    async def _show(self, _: web.Request) -> web.Response:
        present = sorted(
            self._present(), key=lambda participant: (participant.name, participant.instance)
        )
        return web.json_response(
            {
                "now": format_time(self._now),
                "round": self._round,
                "advancing": self._advance is not None,
                "participants": [participant.describe() for participant in present],
            }
        )

    async def _report(self, request: web.Request) -> web.Response:
        name, instance = request.match_info["service"], request.match_info["instance"]
        participant = _read_report(name, instance, await _read_object(request))
        participant.connection = request.transport
        before = self._participants.get((name, instance))
        if before is not None:
            participant.open_polls = before.open_polls
            participant.answered_at = before.answered_at
        self._participants[name, instance] = participant
        self._reported.set()
        await self._hold_poll(participant)
        return web.json_response({"now": format_time(self._now), "round": self._round})

    async def _hold_poll(self, reported: Participant) -> None:
        """Hold a poll open until a round begins that its process has not seen."""
        key = reported.name, reported.instance
        poll = object()
        reported.open_polls.add(poll)
        end = time.monotonic() + (LONG_POLL_SECONDS if reported.quiet else BUSY_HOLD_SECONDS)
        while (
            reported.round == self._round
            and reported.is_connected()
            and (left_seconds := end - time.monotonic()) > 0
        ):
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_seconds, CONNECTION_CHECK_SECONDS)):
                    await self._round_begun.wait()
        reported.open_polls.discard(poll)
        # A later poll of the same process may have replaced the report in the meantime, and one that
        # is gone is forgotten.
        if (present := self._participants.get(key)) is not None:
            present.answered_at = time.monotonic()

    async def _start_advance(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, _read_target(await _read_object(request), self._now))

    async def _start_settle(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, self._now)

    async def _stream(self, request: web.Request, to: datetime) -> web.StreamResponse:
        """Advance in a task of its own, and send the client each step as a line of JSON.

        A client that goes away stops the advance only after the step under way.
        """
        if self._advance is not None:
            return web.json_response({"error": "an advance is under way"}, status=409)
        lines: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()
        abandoned = asyncio.Event()
        advance = asyncio.create_task(self._run(to, lines.put_nowait, abandoned))
        self._advance = advance
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            # Who goes away between two lines is seen only when the next one is written.
            with suppress(ConnectionResetError):
                await response.prepare(request)
                while (line := await lines.get()) is not None:
                    await response.write(json.dumps(line).encode() + b"\n")
        finally:
            abandoned.set()
        await advance
        return response

    # The simulation

    async def _run(self, to: datetime, emit: Emit, abandoned: asyncio.Event) -> None:
        steps = 0
        try:
            activities = await self._settle({})
            while self._now < to and not abandoned.is_set():
                await self._jump(self._next_wake(to))
                steps += 1
                activities = await self._settle(activities)
                emit({"now": format_time(self._now), "steps": steps})
            emit({"now": format_time(self._now), "steps": steps, "done": True})
        except NotSettledError as error:
            emit({"error": str(error), "waiting_for": error.waiting_for})
        finally:
            self._advance = None
            emit(None)

    async def _settle(self, before: Activities) -> Activities:
        """Run rounds until two in a row show that no work is left now; returns their activities.

        `before` has the activities of the round before, after which only time has passed.
        """
        deadline = time.monotonic() + self._settle_timeout_seconds
        restless: list[str] = []
        for number in range(MAX_ROUNDS_PER_STEP):
            began = time.monotonic()
            self._begin_round()
            await self._round_answered(deadline)
            await self._messages.deliver()
            present = self._present()
            activities = {
                (participant.name, participant.instance): participant.activity
                for participant in present
            }
            activities[SANDBOX] = self._messages.sent_count
            restless = [
                f"{participant.name}/{participant.instance}: {reason}"
                for participant in present
                if (reason := self._restless_reason(participant, before))
            ]
            if activities[SANDBOX] != before.get(SANDBOX):
                restless.append("sandbox: it keeps sending")
            if not restless and activities.keys() == before.keys():
                return activities
            if before and restless and number < PAUSES_PER_STEP:
                round_seconds = time.monotonic() - began
                await asyncio.sleep(min(round_seconds * PAUSE_OF_ROUND, PAUSE_MAX_SECONDS))
            before = activities
        message = (
            f"still not settled at {format_time(self._now)} after {MAX_ROUNDS_PER_STEP} rounds"
        )
        raise NotSettledError(message, restless)

    def _restless_reason(self, participant: Participant, before: Activities) -> str | None:
        if participant.wake_at is not None and participant.wake_at <= self._now:
            return f"quiet, yet wants to wake at {format_time(participant.wake_at)}"
        if before.get((participant.name, participant.instance)) != participant.activity:
            return "its activity keeps growing"
        return None

    async def _round_answered(self, deadline: float) -> None:
        while waiting_for := self._waiting_for():
            remaining_seconds = deadline - time.monotonic()
            if remaining_seconds <= 0:
                message = (
                    f"not settled at {format_time(self._now)}"
                    f" within {self._settle_timeout_seconds:g} s"
                )
                raise NotSettledError(message, waiting_for)
            self._reported.clear()
            with suppress(TimeoutError):
                # Presence ends by the passing of time alone, so check again soon.
                async with asyncio.timeout(min(remaining_seconds, PRESENCE_CHECK_SECONDS)):
                    await self._reported.wait()

    def _waiting_for(self) -> list[str]:
        present = self._present()
        missing = self._expected - {participant.name for participant in present}
        reasons = [f"{name}: no process of it is present" for name in sorted(missing)]
        for participant in present:
            if participant.round != self._round:
                reasons.append(
                    f"{participant.name}/{participant.instance}: has not reported in this round"
                )
            elif not participant.quiet:
                reasons.append(f"{participant.name}/{participant.instance}: busy")
        return reasons

    def _present(self) -> list[Participant]:
        """Forget who is gone, and return who is left."""
        self._participants = {
            key: participant
            for key, participant in self._participants.items()
            if participant.is_present()
        }
        return list(self._participants.values())

    def _next_wake(self, to: datetime) -> datetime:
        wakes = [participant.wake_at for participant in self._present()]
        wakes.append(self._messages.next_due())
        return min((at for at in wakes if at is not None and self._now < at < to), default=to)

    async def _jump(self, to: datetime) -> None:
        # On record first: a service must never have seen a time that a restart takes back. From
        # here to the beginning of the next round nothing is awaited, so that no poll is ever
        # answered with the new time and the old round.
        await self._keep(to)
        self._now = to

    def _begin_round(self) -> None:
        self._round += 1
        begun, self._round_begun = self._round_begun, asyncio.Event()
        begun.set()

    async def _keep(self, now: datetime) -> None:
        await self._record.execute(
            "INSERT INTO clock (only, now, round) VALUES (1, ?, ?)"
            " ON CONFLICT (only) DO UPDATE SET now = excluded.now, round = excluded.round",
            format_time(now),
            self._round,
        )


# Each request writes the present time twice, and that moves in jumps.
@lru_cache(maxsize=16)
def format_time(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; raises ValueError when it is none, or names no offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset from UTC")
    return moment.astimezone(UTC)


async def _read_object(request: web.Request) -> dict[str, object]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise bad_request("body: give a JSON object")
    return body


def _read_report(name: str, instance: str, body: dict[str, object]) -> Participant:
    round_, quiet, activity = body.get("round"), body.get("quiet"), body.get("activity")
    if type(round_) is not int or type(activity) is not int:
        raise bad_request("round, activity: give whole numbers")
    if type(quiet) is not bool:
        raise bad_request("quiet: give true or false")
    try:
        wake_at = None if body.get("wake_at") is None else parse_time(str(body["wake_at"]))
    except (ValueError, OverflowError):
        raise bad_request("wake_at: give an RFC 3339 time or null") from None
    return Participant(name, instance, round_, quiet, activity, wake_at)


def _read_target(body: dict[str, object], now: datetime) -> datetime:
    try:
        if type(seconds := body.get("seconds")) is int:
            to = now + timedelta(seconds=seconds)
        else:
            to = parse_time(str(body.get("to")))
    except (ValueError, OverflowError):
        raise bad_request('give {"to": an RFC 3339 time} or {"seconds": a whole number}') from None
    if to <= now:
        raise bad_request(f"the clock only moves forward, and it is {format_time(now)}")
    return to
