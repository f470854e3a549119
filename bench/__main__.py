"""`python -m bench`: start a stack, measure how fast the suite is, print the figures and store them."""

import argparse
import os
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from rich.console import Console

from bench import (
    admission,
    bare_sql,
    books,
    documents,
    full_cycle,
    holds,
    imports,
    lateness,
    notices,
    pgqueuer_jobs,
    prepare,
    preview,
    quotes,
    replicas,
    report,
    scale,
    seed,
    stack,
)
from bench.measure import Figure, Run, WrongResultError
from bench.replicas import Replica, Shared
from bench.report import BARE_SQL, FULL_CYCLE, PGQUEUER, PREPARE, Report
from bench.seed import Book
from bench.stack import Stack
from deploy.embedded.__main__ import DEFAULT_HOME, HOME_VARIABLE
from deploy.embedded.process import PartError
from services.runtime.app.bootstrap import run_loop
from services.scheduler.domain.calendar import local_to_utc

ROUNDS = 3
STANDING_ORDERS = 10_000
CYCLES = 2_000
WARM_UP = 1_000
PGQUEUER_JOBS = 10_000
# Prepared already when it is seeded, and not due yet.
PREPARED_BY_NOW = timedelta(days=2)
# Not prepared before the clock is moved.
PREPARED_LATER = timedelta(days=5)
# Not prepared as long as anything is measured.
RESTING = timedelta(days=300)
NEXT = timedelta(minutes=1)
PREVIEWED = 1_000
LATE_SECONDS = 30

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
    figures = run_loop(_alone(running, chosen, console))
    figures += _shared(running, chosen, console)
    running.start_scheduler()
    run_loop(_full_cycles(running, chosen, runs, console))
    figures += run_loop(_previews(running, console))
    figures += run_loop(_admission(running, console))
    figures += run_loop(_holds(running, console))
    figures += run_loop(_quotes(running, console))
    figures += _imports(running, chosen, console)
    with console.status("books"):
        figures += run_loop(books.measure(running))
    database_url = stack.own_database(running, "notify")
    with console.status("notices"):
        figures += run_loop(notices.measure(running, database_url))
    with console.status("documents"):
        figures += run_loop(documents.measure())
    return Report(datetime.now(UTC), runs, figures, running.memory_megabytes())


async def _stages(running: Stack, chosen: argparse.Namespace, runs: Runs, console: Console) -> None:
    """Bare SQL, pgqueuer and prepare in turns: what slows a round slows all three measurements."""
    for name, counts, standing_orders in _rounds(chosen.rounds, chosen.standing_orders):
        jobs = min(standing_orders, PGQUEUER_JOBS)
        now = await _now(running.sandbox_url)
        book = _book(name, standing_orders, now, PREPARED_BY_NOW)
        await seed.fill(running, book)
        with console.status(f"{name}: bare SQL, pgqueuer, prepare"):
            running.checkpoint()
            of_bare_sql = await bare_sql.measure(running.comparison_url, standing_orders)
            running.checkpoint()
            of_pgqueuer = await pgqueuer_jobs.measure(running.comparison_url, jobs)
            running.checkpoint()
            prepared = await prepare.measure(running, book)
        await seed.clear(running)
        if counts:
            runs[BARE_SQL].append(of_bare_sql)
            runs[PGQUEUER].append(of_pgqueuer)
            runs[PREPARE].append(prepared)


async def _alone(running: Stack, chosen: argparse.Namespace, console: Console) -> list[Figure]:
    """Prepare by itself: in a growing table, and in real time."""
    now = await _now(running.sandbox_url)
    sizes = [*(size for size in scale.SIZES if size < chosen.table), chosen.table]
    due = _book("due", min(scale.DUE, sizes[0]), now, PREPARED_BY_NOW)
    resting = _book("resting", 0, now, RESTING)
    with console.status(f"prepare among up to {chosen.table:,} standing orders"):
        runs = await scale.measure(running, due, resting, sizes, chosen.rounds)
    await seed.clear(running)
    # This part runs on the machine's clock.
    count = lateness.DUE_PER_SECOND * chosen.late_seconds
    book = _book("lateness", count, datetime.now(UTC), PREPARED_LATER)
    await seed.fill(running, book)
    with console.status(f"lateness for {chosen.late_seconds} seconds"):
        late = await lateness.measure(running, book)
    await seed.clear(running)
    return scale.figures(runs) + lateness.figures(late)


def _shared(running: Stack, chosen: argparse.Namespace, console: Console) -> list[Figure]:
    """Prepare by one scheduler process, and by two."""
    found = []
    for count in (1, 2):
        with (
            console.status(f"schedulers that share a book: {count}"),
            replicas.running(running, count) as schedulers,
        ):
            found.append(run_loop(_share(running, chosen, schedulers)))
    one, two = found
    return replicas.figures(one, two)


async def _share(
    running: Stack, chosen: argparse.Namespace, schedulers: Sequence[Replica]
) -> Shared:
    now = await _now(running.sandbox_url)
    book = _book(f"shared-by-{len(schedulers)}", chosen.standing_orders, now, PREPARED_LATER)
    await seed.fill(running, book)
    running.checkpoint()
    shared = await replicas.measure(running, book, schedulers)
    # Its notices go out before anything else begins.
    await full_cycle.advance(running.sandbox_url, now + NEXT)
    await seed.rest(running)
    return shared


async def _full_cycles(
    running: Stack, chosen: argparse.Namespace, runs: Runs, console: Console
) -> None:
    for name, counts, cycles in _rounds(chosen.rounds, chosen.cycles):
        now = await _now(running.sandbox_url)
        await seed.rest(running)
        book = _book(f"full-cycle-{name}", cycles, now, PREPARED_LATER)
        await seed.fill(running, book)
        running.checkpoint()
        with console.status(f"{name}: full cycle"):
            run = await full_cycle.measure(running, book)
        if counts:
            runs[FULL_CYCLE].append(run)


async def _previews(running: Stack, console: Console) -> list[Figure]:
    await seed.rest(running)
    book = _book("previews", PREVIEWED, await _now(running.sandbox_url), PREPARED_LATER)
    await seed.fill(running, book)
    with console.status("previews"):
        return preview.figures(await preview.measure(running, book))


async def _admission(running: Stack, console: Console) -> list[Figure]:
    with console.status("admission, and a Get"):
        return await admission.measure() + await admission.measure_get(
            running, f"admission-{uuid.uuid4().hex[:8]}"
        )


async def _holds(running: Stack, console: Console) -> list[Figure]:
    with console.status("holds of stock"):
        return await holds.measure(running)


async def _quotes(running: Stack, console: Console) -> list[Figure]:
    with console.status("quotes"):
        return await quotes.measure(running)


def _imports(running: Stack, chosen: argparse.Namespace, console: Console) -> list[Figure]:
    async def seeded() -> Book:
        book = _book("import", chosen.import_rows, await _now(running.sandbox_url), RESTING)
        await seed.fill_world(running, book)
        return book

    book = run_loop(seeded())
    with console.status(f"import of {book.count:,} rows"):
        return imports.figures(imports.measure(running, book))


def _rounds(rounds: int, count: int) -> Iterator[tuple[str, bool, int]]:
    """Each round's name, whether it counts, and its size; the first one only warms everything up."""
    yield "warm-up", False, min(WARM_UP, count)
    for number in range(1, rounds + 1):
        yield f"round-{number}", True, count


def _book(merchant: str, count: int, now: datetime, ahead: timedelta) -> Book:
    due_date = now.date() + ahead
    due_time = local_to_utc(due_date, seed.DUE_AT, seed.TIME_ZONE)
    return Book(merchant, count, due_date, due_time, now)


async def _now(sandbox_url: str) -> datetime:
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox_url}/clock") as response:
        return datetime.fromisoformat((await response.json())["now"]).astimezone(UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Start a stack, measure how fast the suite is, print the figures and store them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--standing-orders",
        type=_positive,
        default=STANDING_ORDERS,
        help="how many each measurement of prepare has",
    )
    parser.add_argument(
        "--cycles",
        type=_positive,
        default=CYCLES,
        help="how many run from due to receipt",
    )
    parser.add_argument(
        "--rounds", type=_positive, default=ROUNDS, help="how often each ratio is measured"
    )
    parser.add_argument(
        "--table",
        type=_positive,
        default=scale.SIZES[-1],
        help="the size of the table of standing orders in the last measurement of its growth",
    )
    parser.add_argument(
        "--late-seconds",
        type=_positive,
        default=LATE_SECONDS,
        help=f"for how many seconds {lateness.DUE_PER_SECOND} standing orders a second fall due",
    )
    parser.add_argument(
        "--import-rows", type=_positive, default=imports.ROWS, help="the size of the imported file"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
