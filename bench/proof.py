"""`python -m bench.proof`: how long a proof of a large book takes, quick and full."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

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
        server = EmbeddedPostgres(folder / "postgres", port, folder / "postgres.log")
        try:
            server.start()
            _measure(server.databases, size, console)
        finally:
            server.destroy()


def _measure(databases: Databases, size: Size, console: Console) -> None:
    urls = {service: _migrated(databases, service) for service in SERVICES}
    server = databases.url.rpartition("/")[0]
    started = time.perf_counter()
    asyncio.run(
        write_book({service: f"{server}/{wiring.role(service)}" for service in SERVICES}, size)
    )
    cycles = size.standing_orders * size.cycles
    console.print(f"{cycles:,} cycles written in {time.perf_counter() - started:.0f} s")
    for full in (False, True):
        started = time.perf_counter()
        report = asyncio.run(run(Target(urls), full=full))
        seconds = time.perf_counter() - started
        checked = sum(verdict.checked for verdict in report.verdicts)
        console.print(
            f"{'full proof' if full else 'proof'}: {seconds:.1f} s, {len(report.verdicts)} clauses,"
            f" {checked:,} rows checked, {len(report.violations)} violations"
        )


def _migrated(databases: Databases, service: str) -> str:
    role = wiring.role(service)
    databases.ensure(role, Passwords(*[PASSWORD] * 4))
    upgrade(service, databases.address(f"{role}_migrator", PASSWORD, role))
    return wiring.for_any_client(databases.address(f"{role}_auditor", PASSWORD, role))


if __name__ == "__main__":
    main()
