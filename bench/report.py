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

from bench import peer
from bench.measure import Run, Summary

LIMIT = "limit: claim and insert in sets"
PEER = "peer: pgqueuer, one insert a job"
PREPARE = "prepare: due to order and outbox"
LIFE = "whole life: due to receipt"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster one thing is than another, and how fast it is meant to be."""

    name: str
    summary: Summary
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run of the bench found."""

    time: datetime
    runs: Mapping[str, Sequence[Run]]
    memory_megabytes: Mapping[str, float]

    def ratios(self) -> list[Ratio]:
        """Ratios are taken within a round, since the machine may be slower in another."""

        def ratio(upper: str, lower: str) -> Summary:
            return Summary.of_ratios(self.runs[upper], self.runs[lower])

        return [
            Ratio("prepare / pgqueuer", ratio(PREPARE, PEER), aim=5.0),
            Ratio("whole life / pgqueuer", ratio(LIFE, PEER), aim=0.5),
            Ratio("prepare / limit", ratio(PREPARE, LIMIT)),
        ]


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
        aim, reached = "", ""
        if ratio.aim is not None:
            aim, reached = f"≥ {ratio.aim:g}", "yes" if found.median >= ratio.aim else "no"
        ratios.add_row(
            ratio.name, f"{found.median:.2f}", f"{found.low:.2f}", f"{found.high:.2f}", aim, reached
        )
    console.print(ratios)
    memory = _table("memory after the run", "MB")
    for service, megabytes in report.memory_megabytes.items():
        memory.add_row(service, f"{megabytes:.0f}")
    console.print(memory)
    console.print(f"  pgqueuer: {peer.SETTINGS}", style="dim")


def write(report: Report, folder: Path) -> Path:
    """Store the report under its date; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report.time:%Y-%m-%dT%H%M%SZ}.json"
    data = {
        "time": report.time.isoformat(),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "peer_settings": peer.SETTINGS,
        "runs": {
            name: [{**asdict(run), "per_second": run.per_second} for run in runs]
            for name, runs in report.runs.items()
        },
        "ratios": [asdict(ratio) for ratio in report.ratios()],
        "memory_megabytes": dict(report.memory_megabytes),
    }
    file.write_text(json.dumps(data, indent=2) + "\n")
    return file


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place else "left", no_wrap=True)
    return table
