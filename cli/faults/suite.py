"""Many histories, on some deployments at once: each seed once, the first violation shrunk and shown."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field

from cli.errors import CommandError
from cli.faults.caller import Violation
from cli.faults.history import History
from cli.faults.play import Player, Report
from cli.faults.shrink import shrink
from cli.faults.target import Target

# A deployment of one's own is renewed after so many: its clock has gone on for decades by then.
HISTORIES_PER_TARGET = 40

OpenTarget = Callable[[], AbstractAsyncContextManager[Target]]


@dataclass(slots=True)
class Outcome:
    """What became of all histories, so far."""

    reports: list[Report] = field(default_factory=list)
    # Of histories that have begun and not ended.
    seeds_under_way: set[int] = field(default_factory=set)
    # A history that failed, as short as it could be made, and what it breaks.
    failure: History | None = None
    is_shrinking: bool = False
    violations: list[Violation] = field(default_factory=list)
    # That all histories took, without the plays that made one shorter.
    seconds: float = 0.0


async def play_all(
    histories: Iterable[History],
    open_target: OpenTarget,
    outcome: Outcome,
    *,
    targets_at_once: int,
    on_report: Callable[[Report], None],
    shrink_plays_max: int,
    keep_going: bool = False,
) -> None:
    """Play histories until one fails, or all of them; the outcome grows meanwhile."""
    started = time.monotonic()
    left = iter(histories)
    failed: list[tuple[History, Report]] = []

    async def work() -> None:
        for batch in _batches(left, HISTORIES_PER_TARGET):
            if failed and not keep_going:
                return
            async with open_target() as target:
                player = Player(target)
                for history in batch:
                    if failed and not keep_going:
                        return
                    outcome.seeds_under_way.add(history.seed)
                    report = await player.play(history)
                    outcome.seeds_under_way.discard(history.seed)
                    outcome.reports.append(report)
                    on_report(report)
                    if report.violations:
                        failed.append((history, report))
                        # What a violation leaves behind is not to be taken for another.
                        break

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(targets_at_once):
                group.create_task(work())
    except* CommandError as errors:
        raise CommandError("\n".join(map(str, errors.exceptions))) from errors
    finally:
        outcome.seconds = time.monotonic() - started
        outcome.violations = [found for _, report in failed for found in report.violations]
        outcome.failure = failed[0][0] if failed else None
    if failed and shrink_plays_max:
        outcome.is_shrinking = True
        await _shrink(outcome, failed[0][1], open_target, shrink_plays_max)
        outcome.is_shrinking = False


async def _shrink(
    outcome: Outcome, report: Report, open_target: OpenTarget, plays_max: int
) -> None:
    """Make the failure of an outcome as short as it can be while one of the same clauses breaks."""
    clauses = {violation.clause for violation in report.violations}
    async with AsyncExitStack() as opened:
        players: list[Player] = []

        async def fails(shorter: History) -> bool:
            if not players:
                players.append(Player(await opened.enter_async_context(open_target())))
            try:
                violations = (await players[-1].play(shorter)).violations
            except CommandError:
                # A play that breaks off shows nothing; the history that failed is still to be shown.
                violations = None
            if violations == []:
                return False
            # What is left behind is not to be taken for another violation.
            players.clear()
            await opened.aclose()
            if is_same := bool(clauses & {violation.clause for violation in violations or ()}):
                outcome.failure = shorter
            return is_same

        assert outcome.failure is not None  # noqa: S101 - there is one to make shorter
        await shrink(outcome.failure, fails, plays_max)


def _batches(left: Iterator[History], size: int) -> Iterator[Iterator[History]]:
    """What is left, shared by all who take from it, so many at a time."""
    for first in left:
        yield _some(first, left, size - 1)


def _some(first: History, left: Iterator[History], more: int) -> Iterator[History]:
    yield first
    for _ in range(more):
        following = next(left, None)
        if following is None:
            return
        yield following
