"""`python -m bench.cost`: what one cycle costs, from preparation to receipt, beside a peer's.

CPU time of each process, rows and bytes in each database, log that PostgreSQL writes, events published.
In each round the peer (bench/peer.py) runs as many cycles on the same PostgreSQL and a sandbox like the
suite's, so that their ratio says something about other machines as well; absolute figures are of this
one, and docs/scaling.md uses them for sums.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg
from rich.console import Console
from rich.table import Table

from bench import full_cycle, peer, seed, stack
from bench.measure import Aim, Run, Summary, WrongResultError
from bench.seed import Book
from bench.stack import Stack
from deploy.embedded.__main__ import DEFAULT_HOME, HOME_VARIABLE
from deploy.embedded.addresses import SERVICES
from deploy.embedded.process import PartError
from services.scheduler.domain.calendar import local_to_utc

CYCLES = 5_000
ROUNDS = 3
# Processes that are no part of the suite: the simulated outside world, and this one.
OUTSIDE = ("sandbox", "bench")
AHEAD = timedelta(days=5)
WARM_UP = 1_000
# A connection of PostgreSQL that is idle reports what it did up to ten seconds later (its
# PGSTAT_IDLE_INTERVAL).
STATISTICS_SECONDS = 11.0
MICROSECONDS = 1_000_000
RATE_AIM, COST_AIM = Aim(3.0), Aim(0.4, at_least=False)


@dataclass(frozen=True, slots=True)
class Spent:
    """What has been used so far, by part of the stack or by database."""

    cpu_seconds: Mapping[str, float]
    inserted_rows: Mapping[str, int]
    updated_rows: Mapping[str, int]
    # Of those, the ones that no index had to follow (heap-only tuples).
    hot_rows: Mapping[str, int]
    commits: Mapping[str, int]
    stored_bytes: Mapping[str, int]
    # Of those, what is deleted after OUTBOX_RETENTION_DAYS.
    passing_bytes: Mapping[str, int]
    events: Mapping[str, int]
    # In which they were published; no platform listens.
    messages: Mapping[str, int]
    wal_bytes: int
    wal_records: int


@dataclass(frozen=True, slots=True)
class Round:
    """The same number of cycles, run by the peer and by the suite."""

    peer: Run
    suite: Run
    before: Spent
    after: Spent


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.cost", description=__doc__)
    parser.add_argument("--cycles", type=int, default=CYCLES, help="how many cycles to run a round")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured")
    chosen = parser.parse_args(arguments)
    home = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME) / "bench"
    try:
        with stack.running(home / "stack") as running, stack.peer_sandbox(running) as peer_url:
            stack.migrate_scheduler(running)
            running.start_scheduler()
            rounds = asyncio.run(_measure(running, peer_url, chosen.cycles, chosen.rounds))
            memory = running.memory_megabytes()
    except (PartError, WrongResultError) as error:
        print(f"bench.cost: {error}", file=sys.stderr)
        return 1
    _show(rounds, memory, Console(highlight=False))
    return 0


async def _measure(running: Stack, peer_url: str, cycles: int, rounds: int) -> list[Round]:
    outside = peer.Outside(
        running.comparison_url,
        peer_url,
        running.keys.password("provider"),
        running.keys.password("sms"),
    )
    warm_up = min(WARM_UP, cycles)
    await _round(running, outside, "warm-up", warm_up)
    return [
        await _round(running, outside, f"round-{number}", cycles) for number in range(1, rounds + 1)
    ]


async def _round(running: Stack, outside: peer.Outside, name: str, cycles: int) -> Round:
    running.checkpoint()
    idle = running.cpu_seconds()
    by_peer = await peer.measure(outside, cycles)
    postgres = running.cpu_seconds()["postgres"] - idle["postgres"]
    by_peer = replace(by_peer, cpu_seconds={**by_peer.cpu_seconds, "postgres": postgres})
    await seed.rest(running)
    book = await book_of(running, name, cycles)
    await seed.fill(running, book)
    running.checkpoint()
    before = await _spent(running)
    run = await full_cycle.measure(running, book)
    # Before the wait for rows, in which the stack is idle.
    worked = running.cpu_seconds()
    after = replace(await _spent(running), cpu_seconds=worked)
    cpu = {part: worked[part] - before.cpu_seconds[part] for part in worked}
    by_suite = replace(run, cpu_seconds={k: v for k, v in cpu.items() if k not in OUTSIDE})
    return Round(by_peer, by_suite, before, after)


async def book_of(running: Stack, merchant: str, count: int) -> Book:
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
    inserted, updated, hot, commits, stored, passing = {}, {}, {}, {}, {}, {}
    events, messages = {}, {}
    wal_bytes = wal_records = 0
    for service in SERVICES:
        connection = await asyncpg.connect(running.url(service))
        try:
            [row] = await connection.fetch(
                "SELECT tup_inserted, tup_updated, xact_commit, pg_database_size(datname) AS bytes,"
                " (SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('outbox'))"
                " + pg_total_relation_size('inbox') AS passing,"
                " (SELECT coalesce(sum(event_count), 0) FROM outbox) AS events,"
                " (SELECT count(*) FROM outbox) AS messages,"
                " (SELECT sum(n_tup_hot_upd)::bigint FROM pg_stat_user_tables) AS hot,"
                " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS wal,"
                " (SELECT wal_records FROM pg_stat_wal) AS wal_records"
                " FROM pg_stat_database WHERE datname = current_database()"
            )
        finally:
            await connection.close()
        inserted[service], updated[service] = row["tup_inserted"], row["tup_updated"]
        commits[service], stored[service] = row["xact_commit"], row["bytes"]
        hot[service], passing[service] = row["hot"], row["passing"]
        events[service], messages[service] = row["events"], row["messages"]
        wal_bytes, wal_records = int(row["wal"]), int(row["wal_records"])
    return Spent(
        running.cpu_seconds(),
        inserted,
        updated,
        hot,
        commits,
        stored,
        passing,
        events,
        messages,
        wal_bytes,
        wal_records,
    )


def _show(rounds: Sequence[Round], memory: Mapping[str, float], console: Console) -> None:
    last = rounds[-1]
    before, after, cycles = last.before, last.after, last.suite.count
    _show_ratios(rounds, console)

    def each(of: str, what: str) -> float:
        return float(getattr(after, what)[of] - getattr(before, what)[of]) / cycles

    console.print(f"{cycles:,} cycles from preparation to receipt in the last round; each costs:")
    cpu = Table("part", "CPU, microseconds", "memory, MB")
    for part, seconds in last.suite.cpu_seconds.items():
        megabytes = f"{memory[part]:.0f}" if part in memory else ""
        cpu.add_row(part, f"{seconds / cycles * MICROSECONDS:,.0f}", megabytes)
    cpu.add_row("all", f"{last.suite.cpu_microseconds:,.0f}")
    sandbox = each("sandbox", "cpu_seconds") * MICROSECONDS
    cpu.add_row("not counted: sandbox", f"{sandbox:,.0f}")
    console.print(cpu)
    rows = Table(
        "database",
        "inserted",
        "updated",
        "HOT",
        "commits",
        "bytes",
        "for 30 days",
        "events",
        "messages",
    )
    columns = ("inserted_rows", "updated_rows", "hot_rows", "commits")
    for service in SERVICES:
        rows.add_row(
            service,
            *(f"{each(service, what):.2f}" for what in columns),
            f"{each(service, 'stored_bytes'):,.0f}",
            f"{each(service, 'passing_bytes'):,.0f}",
            f"{each(service, 'events'):.2f}",
            f"{each(service, 'messages'):.3f}",
        )
    rows.add_row(
        "all", *(f"{sum(each(service, what) for service in SERVICES):.2f}" for what in columns)
    )
    console.print(rows)
    console.print(
        f"write-ahead log: {(after.wal_bytes - before.wal_bytes) / cycles:,.0f} bytes in "
        f"{(after.wal_records - before.wal_records) / cycles:,.0f} records"
    )


def _show_ratios(rounds: Sequence[Round], console: Console) -> None:
    """Each ratio is of one round: what slows the machine slows both."""
    ratios = Table("suite / peer", "median", "min", "max", "aim")
    rate = Summary.of_ratios([each.suite for each in rounds], [each.peer for each in rounds])
    costs = [each.suite.cpu_microseconds / each.peer.cpu_microseconds for each in rounds]
    for name, summary, aim in (
        ("cycles a second", rate, RATE_AIM),
        ("CPU a cycle, without the sandbox", Summary.of(costs), COST_AIM),
    ):
        numbers = (f"{number:.2f}" for number in (summary.median, summary.low, summary.high))
        ratios.add_row(name, *numbers, str(aim))
    console.print(ratios)
    for who, runs in (
        ("suite", [each.suite for each in rounds]),
        ("peer", [each.peer for each in rounds]),
    ):
        rates = ", ".join(f"{run.per_second:,.0f}" for run in runs)
        cpu = ", ".join(f"{run.cpu_microseconds:,.0f}" for run in runs)
        console.print(f"{who}: {rates} cycles a second; {cpu} microseconds of CPU")
    console.print(f"peer: {peer.SETTINGS}", style="dim")


if __name__ == "__main__":
    sys.exit(main())
