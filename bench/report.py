"""What was measured: a table for people, JSON for programs."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import pgqueuer_jobs
from bench.measure import Aim, Figure, Run, Summary

BARE_SQL = "bare SQL: claim and insert in sets"
PGQUEUER = "pgqueuer: one insert a job"
PREPARE = "prepare: due to order and outbox"
FULL_CYCLE = "full cycle: due to receipt"
# From here on decimals say nothing.
SHOWN_WHOLE = 100


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster one thing is than another, and how fast it is meant to be."""

    name: str
    summary: Summary
    aim: Aim | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run of the benchmark measured."""

    time: datetime
    runs: Mapping[str, Sequence[Run]]
    figures: Sequence[Figure]
    memory_megabytes: Mapping[str, float]

    def ratios(self) -> list[Ratio]:
        """Ratios are taken within a round, since the machine may be slower in another."""

        def ratio(upper: str, lower: str) -> Summary:
            return Summary.of_ratios(self.runs[upper], self.runs[lower])

        return [
            Ratio("prepare / pgqueuer", ratio(PREPARE, PGQUEUER), Aim(3.0)),
            Ratio("prepare / bare SQL", ratio(PREPARE, BARE_SQL)),
        ]

    def costs_microseconds(self) -> dict[str, float]:
        """The processors' time for the preparation of one cycle, by part."""
        runs = self.runs[PREPARE]
        count = sum(run.count for run in runs)
        return {
            part: sum(run.cpu_seconds[part] for run in runs) / count * 1e6
            for part in runs[0].cpu_seconds
        }


def show(report: Report, console: Console) -> None:
    """Print the report."""
    rates = _table("a second", "count", "median", "min", "max")
    for name, runs in report.runs.items():
        rate = Summary.of([run.per_second for run in runs])
        rates.add_row(
            name,
            f"{runs[0].count:,}",
            f"{rate.median:,.0f}",
            f"{rate.low:,.0f}",
            f"{rate.high:,.0f}",
        )
    console.print(rates)
    ratios = _table("ratio", "median", "min", "max", "aim", "reached")
    for ratio in report.ratios():
        found = ratio.summary
        numbers = (f"{found.median:.2f}", f"{found.low:.2f}", f"{found.high:.2f}")
        ratios.add_row(ratio.name, *numbers, *_reached(ratio.aim, found.median))
    console.print(ratios)
    costs = _table("prepare: CPU a cycle", "µs")
    for part, microseconds in report.costs_microseconds().items():
        costs.add_row(part, f"{microseconds:.0f}")
    console.print(costs)
    others = _table("figure", "", "unit", "aim", "reached")
    for figure in report.figures:
        number = f"{figure.value:,.2f}" if figure.value < SHOWN_WHOLE else f"{figure.value:,.0f}"
        others.add_row(figure.name, number, figure.unit, *_reached(figure.aim, figure.value))
    console.print(others)
    memory = _table("memory after the run", "MB")
    for service, megabytes in report.memory_megabytes.items():
        memory.add_row(service, f"{megabytes:.0f}")
    console.print(memory)
    console.print(f"  pgqueuer: {pgqueuer_jobs.SETTINGS}", style="dim")


def _reached(aim: Aim | None, value: float) -> tuple[str, str]:
    if aim is None:
        return "", ""
    return str(aim), "yes" if aim.reached(value) else "no"


def write(report: Report, folder: Path) -> Path:
    """Store the report under its date; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report.time:%Y-%m-%dT%H%M%SZ}.json"
    data = {
        "time": report.time.isoformat(),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "pgqueuer_settings": pgqueuer_jobs.SETTINGS,
        "runs": {
            name: [{**asdict(run), "per_second": run.per_second} for run in runs]
            for name, runs in report.runs.items()
        },
        "ratios": [
            {**asdict(ratio), "reached": ratio.aim and ratio.aim.reached(ratio.summary.median)}
            for ratio in report.ratios()
        ],
        "prepare_cpu_microseconds": report.costs_microseconds(),
        "figures": [
            {**asdict(figure), "reached": figure.aim and figure.aim.reached(figure.value)}
            for figure in report.figures
        ],
        "memory_megabytes": dict(report.memory_megabytes),
    }
    file.write_text(json.dumps(data, indent=2) + "\n")
    return file


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, header in enumerate(headers):
        # Where it is narrow, words are broken and numbers are not.
        table.add_column(header, justify="right" if position else "left", no_wrap=position > 0)
    return table
