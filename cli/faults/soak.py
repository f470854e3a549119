"""An hour of histories on one stack, while what a process and a database take is watched."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import asyncpg
import psutil

from cli.faults.caller import Violation
from cli.faults.embedded import EmbeddedTarget
from cli.faults.generate import generate
from cli.faults.play import Player, Report, total
from deploy.embedded import wiring
from deploy.embedded.addresses import SERVICES

SAMPLE_SECONDS = 15.0
BYTES_PER_MEGABYTE = 1_000_000
# Of each service, whatever it has been through.
MEMORY_MAX_MEGABYTES = 300.0
OPEN_FILES_MAX = 250
# Rows that a table keeps for nothing, once it is large enough for autovacuum to care.
DEAD_SHARE_MAX = 0.5
BLOAT_ROWS_MIN = 5_000
# Of real time, from the moment that something is due until it and all that it leads to is done: outages
# and locks among the faults last some seconds, and a claim whose owner is gone at most 30.
LATENESS_MAX_SECONDS = 60.0
# Faults that take half a minute would leave little else in an hour, and few processes live long.
FAULTS = ("terminate", "replay", "outage", "provider:", "delete", "wipe", "few", "read-only")

_TABLES = """
    SELECT relname AS table, n_live_tup AS live, n_dead_tup AS dead,
           pg_total_relation_size(relid) AS bytes
    FROM pg_stat_user_tables
"""


@dataclass(slots=True)
class Peaks:
    """The most that was seen."""

    memory_megabytes: dict[str, float] = field(default_factory=dict)
    open_files: dict[str, int] = field(default_factory=dict)
    database_megabytes: dict[str, float] = field(default_factory=dict)
    # Service and table -> the largest share of dead rows.
    dead_share: dict[str, float] = field(default_factory=dict)
    # How long each step of the clock took, from the shortest on.
    lateness_seconds: list[float] = field(default_factory=list)

    def violations(self) -> list[Violation]:
        """What is above its bound."""
        violations = [
            Violation("memory", f"{service}: {megabytes:.0f} MB, above {MEMORY_MAX_MEGABYTES:g}")
            for service, megabytes in self.memory_megabytes.items()
            if megabytes > MEMORY_MAX_MEGABYTES
        ]
        violations += [
            Violation("open files", f"{service}: {count}, above {OPEN_FILES_MAX}")
            for service, count in self.open_files.items()
            if count > OPEN_FILES_MAX
        ]
        violations += [
            Violation("bloat", f"{table}: {share:.0%} dead rows, above {DEAD_SHARE_MAX:.0%}")
            for table, share in self.dead_share.items()
            if share > DEAD_SHARE_MAX
        ]
        violations += [
            Violation("lateness", f"{seconds:.1f} s, above {LATENESS_MAX_SECONDS:g}")
            for seconds in self.lateness_seconds[-1:]
            if seconds > LATENESS_MAX_SECONDS
        ]
        return violations

    def lines(self) -> list[str]:
        """The figures, for people."""
        return [
            f"{service}: at most {self.memory_megabytes[service]:.0f} MB, "
            f"{self.open_files[service]} open files; "
            f"database {self.database_megabytes.get(service, 0):.0f} MB"
            for service in sorted(self.memory_megabytes)
        ] + [
            f"largest share of dead rows: {max(self.dead_share.values(), default=0):.0%}",
            "lateness: "
            + ", ".join(
                f"{share:.0%} within {self._late_seconds(share):.2f} s" for share in (0.5, 0.99, 1)
            ),
        ]

    def _late_seconds(self, share: float) -> float:
        """Within how many seconds a share of all steps was over."""
        count = len(self.lateness_seconds)
        return self.lateness_seconds[max(math.ceil(count * share) - 1, 0)] if count else 0.0


async def soak(
    target: EmbeddedTarget, seconds: float, on_report: Callable[[Report], None]
) -> tuple[list[Report], Peaks]:
    """Play histories on one stack for so long, or until one fails; returns reports and peaks."""
    reports: list[Report] = []
    peaks = Peaks()
    watch = asyncio.create_task(_watch(target, peaks))
    player = Player(target)
    names = [name for name in sorted(target.faults) if name.startswith(FAULTS)]
    ends = time.monotonic() + seconds
    try:
        while (
            time.monotonic() < ends
            and not watch.done()
            and not any(report.violations for report in reports)
        ):
            # The clock is not moved to a date: an hour would take it past the last year there is.
            history = replace(generate(len(reports) + 1, names), start={})
            reports.append(await player.play(history))
            on_report(reports[-1])
        await _sample(target, peaks)
    finally:
        watch.cancel()
    with suppress(asyncio.CancelledError):
        # It ends by itself only where it fails.
        await watch
    peaks.lateness_seconds = sorted(total(reports).step_seconds)
    return reports, peaks


async def _watch(target: EmbeddedTarget, peaks: Peaks) -> None:
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        await _sample(target, peaks)


async def _sample(target: EmbeddedTarget, peaks: Peaks) -> None:
    for service in SERVICES:
        process = target.stack.process_of(service).find()
        if process is not None:
            try:
                megabytes = process.memory_info().rss / BYTES_PER_MEGABYTE
                files = process.num_fds()
            except psutil.NoSuchProcess:
                continue
            _raise(peaks.memory_megabytes, service, megabytes)
            _raise(peaks.open_files, service, files)
        try:
            await _sample_tables(target, service, peaks)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # A fault has taken the database away.
            continue


async def _sample_tables(target: EmbeddedTarget, service: str, peaks: Peaks) -> None:
    url = wiring.database_url(service, target.stack.addresses, target.keys, "_readonly")
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(_TABLES)
    finally:
        await connection.close()
    total = sum(row["bytes"] for row in rows) / BYTES_PER_MEGABYTE
    _raise(peaks.database_megabytes, service, total)
    for row in rows:
        if row["live"] + row["dead"] >= BLOAT_ROWS_MIN:
            share = row["dead"] / (row["live"] + row["dead"])
            _raise(peaks.dead_share, f"{service}.{row['table']}", share)


def _raise(peaks: dict[str, float] | dict[str, int], name: str, value: float) -> None:
    peaks[name] = max(peaks.get(name, 0), value)  # type: ignore[assignment]
