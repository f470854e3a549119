"""Play a history: its steps in turn, faults between and meanwhile, then look at what came of it."""

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import grpc.aio
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import SERVICES, Session
from cli.errors import CommandError, describe_rpc_error
from cli.faults.actions import Actions
from cli.faults.caller import Caller, Violation
from cli.faults.checks import contract_violations, excused_by_loss, proof_violations
from cli.faults.history import History, Step
from cli.faults.platform import REFUSING
from cli.faults.shop import Shop
from cli.faults.target import Fault, Target

# Long enough for what waits for a provider, a gateway or a retry to have happened.
AFTERMATH = timedelta(days=3)
# In real time: as long may what was interrupted take to go on, retries and leases included.
REST_SECONDS = 40.0
# The sandbox gives up on a step after 90 s; a fault may take the first half of that.
ADVANCE_TRIES = 2
# What a step has beside its first word.
ACT_KEYS = frozenset({"customer", "order", "product", "number", "word", "schedule", "twice"})
LASTING_KEYS = frozenset({"for_steps", "nth"})
PASSING_KEYS = frozenset({"after_seconds", "for_seconds", "nth"})


@dataclass(slots=True)
class Report:
    """What a history came to."""

    seed: int
    seconds: float = 0.0
    # Of real time, between the moments at which something was due, and all being done that it led to.
    step_seconds: list[float] = field(default_factory=list)
    actions: int = 0
    answers: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    # Of those that found nothing to break, or that nothing has come to.
    idle: Counter[str] = field(default_factory=Counter)
    # Of crash points and outages: how often a process or a request came to it.
    reached: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)


class Player:
    """Plays histories on one target, one after another."""

    def __init__(self, target: Target) -> None:
        self._target = target
        # What the proof has found before, which is no later history's doing.
        self._known: set[Violation] = set()
        # Service -> the histories in which it lost what it knew: a later proof may be the first to see.
        self._tags_of_losses: defaultdict[str, set[str]] = defaultdict(set)

    async def play(self, history: History) -> Report:
        """Play a history as a merchant, or with ids, of its own."""
        tag = f"s{history.seed}-{uuid.uuid4().hex[:6]}"
        report = Report(history.seed)
        started, reached_before = time.monotonic(), Counter(self._target.reached)
        async with self._target.session(tag) as session:
            caller = Caller(tag)
            shop = Shop(session, caller, history, tag, self._target.customers)
            run = _Run(self._target, shop, report)
            try:
                try:
                    await run.through()
                    proof = await self._prove(session)
                finally:
                    await run.end_faults()
            except (CommandError, TimeoutError) as error:
                proof = [Violation("progress", str(error))]
            except grpc.aio.AioRpcError as error:
                proof = [Violation("progress", describe_rpc_error(error))]
            new = [violation for violation in proof if violation not in self._known]
            self._known |= set(new)
            for service in filter(
                None, (self._target.faults[name].forgets for name in report.faults)
            ):
                self._tags_of_losses[service].add(tag)
            report.violations = [
                *caller.violations,
                *run.violations,
                *(
                    found
                    for found in new
                    if not excused_by_loss(found, caller, self._tags_of_losses)
                ),
            ]
            report.answers, report.refusals = caller.answered_count, caller.refusals
        report.reached = Counter(self._target.reached) - reached_before
        report.idle += Counter(
            name
            for name in report.faults
            if self._target.faults[name].waits and not report.reached[name]
        )
        report.violations += [
            Violation("crash points", f"{step['fault']}: it did not come to that")
            for step in history.steps
            if step.get("must_come") and not report.reached[step["fault"]]
        ]
        report.seconds = time.monotonic() - started
        return report

    async def _prove(self, session: Session) -> list[Violation]:
        """What the proof finds; nothing without the addresses of the databases."""
        if not all(session.stack.database_urls.get(service) for service in SERVICES):
            return []
        return await proof_violations(session, self._target.discarded_events)


class _Run:
    """One history under way."""

    def __init__(self, target: Target, shop: Shop, report: Report) -> None:
        self._target = target
        self._shop = shop
        self._report = report
        self._actions = Actions(shop)
        self._passing: list[asyncio.Task[None]] = []
        # Fault -> how many steps it stays.
        self._lasting: dict[str, int] = {}
        self.violations: list[Violation] = []

    async def through(self) -> None:
        """From the opening of the shop to the last look at it."""
        history = self._shop.history
        await self._move_to(history)
        await self._shop.open()
        for step in history.steps:
            await self._do(step)
            await self._count_down()
        await self.end_faults()
        await self._target.restore()
        await self._shop.platform.recover()
        if self._target.simulated:
            await self._advance(AFTERMATH)
            await self._shop.session.sandbox.settle()
            await self._target.redrive()
            await self._shop.session.sandbox.settle()
        else:
            await asyncio.sleep(REST_SECONDS)
        self.violations += await contract_violations(self._shop, self._actions.acknowledged)
        await self._end_orders()
        if self._target.simulated:
            await self._shop.session.sandbox.settle()

    async def end_faults(self) -> None:
        """Heal all that is still broken. Raises the first error of a fault, made or healed."""
        ends: list[object] = await asyncio.gather(*self._passing, return_exceptions=True)
        self._passing.clear()
        for name in list(self._lasting):
            ends += await asyncio.gather(self._target.faults[name].heal(), return_exceptions=True)
        self._lasting.clear()
        for error in ends:
            if isinstance(error, BaseException):
                raise error

    async def _do(self, step: Step) -> None:
        if "act" in step:
            self._report.actions += 1
            await self._actions.act(step)
        elif "fault" in step:
            self._report.faults[step["fault"]] += 1
            await self._break(step["fault"], step)
        else:
            await self._pass_time(timedelta(hours=step["advance_hours"]))

    async def _break(self, name: str, step: Step) -> None:
        fault = self._target.faults[name]
        if fault.lasting:
            self._report.idle[name] += not await fault.make(step)
            self._lasting[name] = step["for_steps"]
        else:
            self._passing.append(asyncio.create_task(self._pass_by(name, step)))

    async def _pass_by(self, name: str, step: Step) -> None:
        """Make a fault a little later, while something else goes on, and heal it."""
        fault = self._target.faults[name]
        await asyncio.sleep(step["after_seconds"])
        begun = time.monotonic()
        try:
            self._report.idle[name] += not await fault.make(step)
            await asyncio.sleep(step["for_seconds"])
        finally:
            async with self._recovery(fault):
                await fault.heal()
                if fault.forgets:
                    await self._shop.caller.repeat(fault.forgets, begun)
                    await self._shop.platform.configure()
                if fault.settle:
                    await fault.settle()

    def _recovery(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        """What a service has lost it has again before the clock moves on by days."""
        if fault.forgets and self._target.simulated:
            return self._shop.session.sandbox.clock_held()
        return nullcontext()

    async def _count_down(self) -> None:
        for name in list(self._lasting):
            self._lasting[name] -= 1
            if self._lasting[name] <= 0:
                await self._target.faults[name].heal()
                del self._lasting[name]

    # --- time -------------------------------------------------------------------------------------

    async def _move_to(self, history: History) -> None:
        """Move the clock to where the history begins: the next such month, day and hour."""
        if not history.start or not self._target.simulated:
            return
        now = await self._shop.now()
        month, day, hour = (history.start[part] for part in ("month", "day", "hour"))
        start = now.replace(month=month, day=day, hour=hour, minute=0, second=0, microsecond=0)
        if start <= now:
            start = start.replace(year=start.year + 1)
        await self._advance(start - now)

    async def _pass_time(self, by: timedelta) -> None:
        """Let time pass; a platform that refuses events takes them again before it is over."""
        platform = self._shop.platform
        if platform.refuses and self._target.simulated:
            refusing = min(by, REFUSING)
            await self._advance(refusing)
            await platform.accept()
            by -= refusing
        if by:
            await self._advance(by)

    async def _advance(self, by: timedelta) -> None:
        """Let time pass. Raises CommandError if the suite does not come to rest meanwhile."""
        sandbox = self._shop.session.sandbox
        to = await sandbox.now() + by
        for tries_left in reversed(range(ADVANCE_TRIES)):
            begun = time.monotonic()
            try:
                async for _ in sandbox.advance(to):
                    now = time.monotonic()
                    self._report.step_seconds.append(now - begun)
                    begun = now
            except CommandError:
                if not tries_left or await sandbox.now() >= to:
                    raise
            else:
                return

    # --- the end ----------------------------------------------------------------------------------

    async def _end_orders(self) -> None:
        """Count what there is, and leave nothing alive that would go on beside later histories."""
        scheduler = self._shop.session.scheduler
        for number in range(len(self._shop.history.standing_orders)):
            for order in await self._shop.orders(number):
                self._report.orders[scheduler_pb2.Order.State.Name(order.state)] += 1
            await self._shop.caller.call(
                scheduler.CancelStandingOrder,
                scheduler_pb2.CancelStandingOrderRequest(name=self._shop.standing_order(number)),
            )


def wrong_steps(history: History, faults: Mapping[str, Fault]) -> list[str]:
    """What of the steps of a history cannot be played where there are these faults."""
    return [
        f"steps[{number}]: {problem}"
        for number, step in enumerate(history.steps)
        for problem in _wrong(step, history, faults)
    ]


def _wrong(step: object, history: History, faults: Mapping[str, Fault]) -> Iterator[str]:
    if not isinstance(step, Mapping) or step.keys().isdisjoint(("act", "fault", "advance_hours")):
        yield "has no act, fault or advance_hours"
    elif "act" in step:
        if step["act"] not in Actions.words():
            yield f"there is no act {step['act']!r}"
        yield from _missing(step, ACT_KEYS)
        for key, there in (("customer", history.customers), ("order", history.standing_orders)):
            if step.get(key, 0) not in range(len(there)):
                yield f"{key}: there is no {step[key]!r}"
    elif "fault" in step:
        if (fault := faults.get(step["fault"])) is None:
            yield f"there is no fault {step['fault']!r}"
        else:
            yield from _missing(step, LASTING_KEYS if fault.lasting else PASSING_KEYS)
    elif not isinstance(step["advance_hours"], int | float):
        yield "advance_hours: give a number"


def _missing(step: Step, keys: Collection[str]) -> Iterator[str]:
    if missing := sorted(keys - step.keys()):
        yield f"gives no {', '.join(missing)}"


def total(reports: Iterable[Report]) -> Report:
    """The sums of many histories."""
    whole = Report(0)
    for report in reports:
        whole.seconds += report.seconds
        whole.step_seconds += report.step_seconds
        whole.actions += report.actions
        whole.answers += report.answers
        whole.faults += report.faults
        whole.idle += report.idle
        whole.reached += report.reached
        whole.orders += report.orders
        whole.refusals += report.refusals
        whole.violations += report.violations
    return whole
