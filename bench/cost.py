"""`python -m bench.cost`: what one cycle costs, from preparation to receipt, on a stack of its own.

CPU time of each process, rows and bytes in each database, log that PostgreSQL writes, events published.
Absolute figures are of this machine; docs/scaling.md uses them for sums.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg
from rich.console import Console
from rich.table import Table

from bench import full_cycle, seed, stack
from bench.measure import WrongResultError
from bench.seed import Book
from bench.stack import Stack
from deploy.embedded.__main__ import DEFAULT_HOME, HOME_VARIABLE
from deploy.embedded.addresses import SERVICES
from deploy.embedded.process import PartError
from services.scheduler.domain.calendar import local_to_utc

CYCLES = 5_000
# Processes that are no part of the suite: the simulated outside world, and this one.
OUTSIDE = ("sandbox", "bench")
AHEAD = timedelta(days=5)
WARM_UP = 1_000
# PostgreSQL tells what a connection did up to a second later, and only then.
STATISTICS_SECONDS = 2.0
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What has been used so far, by part of the stack or by database."""

    cpu_seconds: Mapping[str, float]
    inserted_rows: Mapping[str, int]
    updated_rows: Mapping[str, int]
    commits: Mapping[str, int]
    stored_bytes: Mapping[str, int]
    # Of those, what is deleted after OUTBOX_RETENTION_DAYS.
    passing_bytes: Mapping[str, int]
    events: Mapping[str, int]
    wal_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.cost", description=__doc__)
    parser.add_argument("--cycles", type=int, default=CYCLES, help="how many cycles to run")
    chosen = parser.parse_args(arguments)
    home = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME) / "bench"
    try:
        with stack.running(home / "stack") as running:
            stack.migrate_scheduler(running)
            running.start_scheduler()
            before, after, seconds = asyncio.run(_measure(running, chosen.cycles))
    except (PartError, WrongResultError) as error:
        print(f"bench.cost: {error}", file=sys.stderr)
        return 1
    _show(before, after, chosen.cycles, seconds, Console(highlight=False))
    return 0


async def _measure(running: Stack, cycles: int) -> tuple[Spent, Spent, float]:
    warm_up = await _book(running, "warm-up", min(WARM_UP, cycles))
    await seed.fill(running, warm_up)
    await full_cycle.measure(running, warm_up)
    await seed.rest(running)
    book = await _book(running, "cost", cycles)
    await seed.fill(running, book)
    running.checkpoint()
    before = await _spent(running)
    run = await full_cycle.measure(running, book)
    return before, await _spent(running), run.seconds


async def _book(running: Stack, merchant: str, count: int) -> Book:
    """Standing orders that are prepared, and due, when the clock is moved."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{running.sandbox_url}/clock") as response,
    ):
        now = datetime.fromisoformat((await response.json())["now"]).astimezone(UTC)
    due_date = now.date() + AHEAD
    return Book(merchant, count, due_date, local_to_utc(due_date, seed.DUE_AT, seed.TIME_ZONE), now)


async def _spent(running: Stack) -> Spent:
    await asyncio.sleep(STATISTICS_SECONDS)
    inserted, updated, commits, stored, passing, events = {}, {}, {}, {}, {}, {}
    wal_bytes = 0
    for service in SERVICES:
        connection = await asyncpg.connect(running.url(service))
        try:
            [row] = await connection.fetch(
                "SELECT tup_inserted, tup_updated, xact_commit, pg_database_size(datname) AS bytes,"
                " pg_total_relation_size('outbox') + pg_total_relation_size('inbox') AS passing,"
                " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS wal"
                " FROM pg_stat_database WHERE datname = current_database()"
            )
            events[service] = await connection.fetchval("SELECT count(*) FROM outbox")
        finally:
            await connection.close()
        inserted[service], updated[service] = row["tup_inserted"], row["tup_updated"]
        commits[service], stored[service] = row["xact_commit"], row["bytes"]
        passing[service] = row["passing"]
        wal_bytes = int(row["wal"])
    return Spent(
        running.cpu_seconds(), inserted, updated, commits, stored, passing, events, wal_bytes
    )


def _show(before: Spent, after: Spent, cycles: int, seconds: float, console: Console) -> None:
    def each(of: str, what: str) -> float:
        return float(getattr(after, what)[of] - getattr(before, what)[of]) / cycles

    console.print(f"{cycles:,} cycles from preparation to receipt in {seconds:.1f} s; each costs:")
    cpu = Table("part", "CPU, microseconds")
    parts = [part for part in after.cpu_seconds if part not in OUTSIDE]
    for part in parts:
        cpu.add_row(part, f"{each(part, 'cpu_seconds') * MICROSECONDS:,.0f}")
    total = sum(each(part, "cpu_seconds") for part in parts)
    cpu.add_row("all", f"{total * MICROSECONDS:,.0f}")
    console.print(cpu)
    rows = Table(
        "database",
        "rows inserted",
        "rows updated",
        "commits",
        "bytes",
        "of these for 30 days",
        "events published",
    )
    for service in SERVICES:
        rows.add_row(
            service,
            *(
                f"{each(service, what):.2f}"
                for what in ("inserted_rows", "updated_rows", "commits")
            ),
            f"{each(service, 'stored_bytes'):,.0f}",
            f"{each(service, 'passing_bytes'):,.0f}",
            f"{each(service, 'events'):.2f}",
        )
    console.print(rows)
    console.print(f"write-ahead log: {(after.wal_bytes - before.wal_bytes) / cycles:,.0f} bytes")


if __name__ == "__main__":
    sys.exit(main())
