"""`python -m bench.proof`: how long a proof of a large book takes: of all of it, and of what is new.

Beside the seconds stand the load of the machine and what PostgreSQL worked, in seconds of one core:
these say on a busy machine what a quiet one would take.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil
from rich.console import Console

from bench.book import Size, write_book
from cli.prove.run import SERVICES, run
from cli.prove.target import Target
from deploy.embedded import wiring
from deploy.embedded.databases import Databases, Passwords
from deploy.embedded.ports import free_ports
from deploy.embedded.postgres import EmbeddedPostgres
from services.runtime.db.migrations import upgrade

STANDING_ORDERS = 100_000
CYCLES = 10
# What all services and servers work for one cycle (docs/bench.md, `python -m bench.full_cycle`).
LIFE_CPU_SECONDS = 6.6e-3
PASSWORD = "only-for-this-measurement"  # noqa: S105 - the server is gone afterwards


def main() -> None:
    """Write a book, prove it, and print the seconds."""
    parser = argparse.ArgumentParser(prog="python -m bench.proof")
    parser.add_argument("--standing-orders", type=int, default=STANDING_ORDERS)
    parser.add_argument("--cycles", type=int, default=CYCLES, help="of each standing order")
    chosen = parser.parse_args()
    console = Console(highlight=False)
    size = Size(chosen.standing_orders, chosen.cycles)
    with tempfile.TemporaryDirectory(prefix="recurring-proof-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        [port] = free_ports(1)
        server = EmbeddedPostgres(folder / "postgres", port, folder / "postgres.log", durable=False)
        try:
            server.start()
            _measure(server, size, console)
        finally:
            server.destroy()


def _measure(server: EmbeddedPostgres, size: Size, console: Console) -> None:
    databases = server.databases
    urls = {service: _migrated(databases, service) for service in SERVICES}
    address = databases.url.rpartition("/")[0]
    owned = {service: f"{address}/{wiring.role(service)}" for service in SERVICES}
    cycles = size.standing_orders * size.cycles
    with _measured(server, f"{cycles:,} cycles written", console):
        asyncio.run(write_book(owned, size))
    with _measured(server, "proof without digests", console):
        asyncio.run(run(Target(urls)))
    worked = _worked_seconds(server)
    with _measured(server, "digests of all settled days", console):
        asyncio.run(_keep_digests(owned))
    _print_share((_worked_seconds(server) - worked) / cycles, console)
    for full in (False, True):
        with _measured(server, "full proof" if full else "proof", console):
            report = asyncio.run(run(Target(urls), full=full))
        checked = sum(verdict.checked for verdict in report.verdicts)
        console.print(
            f"  {len(report.verdicts)} clauses, {checked:,} rows checked,"
            f" {len(report.violations)} violations"
        )


def _print_share(seconds: float, console: Console) -> None:
    """What the digests of a cycle cost, those that are made again of what ended later included."""
    share = seconds / LIFE_CPU_SECONDS
    console.print(
        f"  {seconds * 1e6:.0f} µs a cycle, {share:.1%} of a life of {LIFE_CPU_SECONDS * 1e3:g} ms"
    )


@contextmanager
def _measured(server: EmbeddedPostgres, what: str, console: Console) -> Iterator[None]:
    started, worked = time.perf_counter(), _worked_seconds(server)
    yield
    seconds, worked = time.perf_counter() - started, _worked_seconds(server) - worked
    console.print(f"{what}: {seconds:.1f} s, {worked:.1f} s of CPU, load {os.getloadavg()[0]:.0f}")


def _worked_seconds(server: EmbeddedPostgres) -> float:
    """The CPU time of PostgreSQL's processes, those that have ended included."""
    postmaster = server.process.find()
    assert postmaster is not None  # noqa: S101 - it was started
    worked = 0.0
    for process in (postmaster, *postmaster.children(recursive=True)):
        # The postmaster counts one that has ended since it was listed.
        with suppress(psutil.NoSuchProcess):
            worked += sum(process.cpu_times()[:4])
    return worked


async def _keep_digests(owned: Mapping[str, str]) -> None:
    today = datetime.now(UTC).date()
    for url in owned.values():
        connection = await asyncpg.connect(url)
        try:
            while await connection.fetchval("SELECT keep_proof_digests($1)", today):
                pass
        finally:
            await connection.close()


def _migrated(databases: Databases, service: str) -> str:
    role = wiring.role(service)
    databases.ensure(role, Passwords(*[PASSWORD] * 4))
    upgrade(service, databases.address(f"{role}_migrator", PASSWORD, role))
    return databases.address(f"{role}_auditor", PASSWORD, role)


if __name__ == "__main__":
    main()
