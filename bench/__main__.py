"""`python -m bench`: measure the suite on a stack of its own, and say how fast it is."""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
from rich.console import Console

from bench import life, limit, peer, prepare, report, seed, stack
from bench.measure import Run, WrongResultError
from bench.report import LIFE, LIMIT, PEER, PREPARE, Report
from bench.seed import Book
from bench.stack import Stack
from deploy.embedded.__main__ import DEFAULT_HOME, HOME_VARIABLE
from deploy.embedded.process import PartError
from services.runtime.process import run_loop
from services.scheduler.domain.calendar import local_to_utc

ROUNDS = 3
STANDING_ORDERS = 10_000
LIVES = 2_000
WARM_UP = 1_000
PEER_JOBS = 10_000
# Prepared already when it is seeded, and not due yet.
PREPARED_BY_NOW = timedelta(days=2)
# Not prepared before the clock is moved.
PREPARED_LATER = timedelta(days=5)

Runs = dict[str, list[Run]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and store; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    home = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME) / "bench"
    console = Console(highlight=False)
    try:
        with stack.running(home / "stack") as running:
            found = _measure(running, chosen, console)
    except (PartError, WrongResultError) as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    report.show(found, console)
    console.print(f"  written to {report.write(found, home)}", style="dim", soft_wrap=True)
    return 0


def _measure(running: Stack, chosen: argparse.Namespace, console: Console) -> Report:
    stack.migrate_scheduler(running)
    prepare.start_tracing()
    runs: Runs = defaultdict(list)
    run_loop(_stages(running, chosen, runs, console))
    running.start_scheduler()
    run_loop(_lives(running, chosen, runs, console))
    return Report(datetime.now(UTC), runs, running.memory_megabytes())


async def _stages(running: Stack, chosen: argparse.Namespace, runs: Runs, console: Console) -> None:
    """Limit, peer and prepare in turns, so that what slows one round slows all three of it."""
    for name, counts, standing_orders in _rounds(chosen.rounds, chosen.standing_orders):
        jobs = min(standing_orders, PEER_JOBS)
        now = await _now(running.sandbox_url)
        book = _book(name, standing_orders, now, now.date() + PREPARED_BY_NOW)
        await seed.fill(running, book)
        with console.status(f"{name}: limit, peer, prepare"):
            running.checkpoint()
            at_limit = await limit.measure(running.yardstick_url, standing_orders)
            running.checkpoint()
            of_peer = await peer.measure(running.yardstick_url, jobs)
            running.checkpoint()
            prepared = await prepare.measure(running, book)
        await seed.clear(running)
        if counts:
            runs[LIMIT].append(at_limit)
            runs[PEER].append(of_peer)
            runs[PREPARE].append(prepared)


async def _lives(running: Stack, chosen: argparse.Namespace, runs: Runs, console: Console) -> None:
    for name, counts, lives in _rounds(chosen.rounds, chosen.lives):
        now = await _now(running.sandbox_url)
        book = _book(f"life-{name}", lives, now, now.date() + PREPARED_LATER)
        await seed.fill(running, book)
        running.checkpoint()
        with console.status(f"{name}: whole life"):
            lived = await life.measure(running, book)
        if counts:
            runs[LIFE].append(lived)


def _rounds(rounds: int, count: int) -> Iterator[tuple[str, bool, int]]:
    """Each round's name, whether it counts, and its size; the first one only warms everything up."""
    yield "warm-up", False, min(WARM_UP, count)
    for number in range(1, rounds + 1):
        yield f"round-{number}", True, count


def _book(merchant: str, count: int, now: datetime, due_date: date) -> Book:
    due_time = local_to_utc(due_date, seed.DUE_AT, seed.TIME_ZONE)
    return Book(merchant, count, due_date, due_time, now)


async def _now(sandbox_url: str) -> datetime:
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox_url}/clock") as response:
        return datetime.fromisoformat((await response.json())["now"]).astimezone(UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--standing-orders", type=_positive, default=STANDING_ORDERS)
    parser.add_argument("--lives", type=_positive, default=LIVES)
    parser.add_argument("--rounds", type=_positive, default=ROUNDS)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
