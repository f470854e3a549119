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
from bench.measure import Aim, Finding, Run, Summary

LIMIT = "limit: claim and insert in sets"
PEER = "peer: pgqueuer, one insert a job"
PREPARE = "prepare: due to order and outbox"
LIFE = "whole life: due to receipt"
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
    """All that one run of the bench found."""

    time: datetime
    runs: Mapping[str, Sequence[Run]]
    findings: Sequence[Finding]
    memory_megabytes: Mapping[str, float]

    def ratios(self) -> list[Ratio]:
        """Ratios are taken within a round, since the machine may be slower in another."""

        def ratio(upper: str, lower: str) -> Summary:
            return Summary.of_ratios(self.runs[upper], self.runs[lower])

        return [
            Ratio("prepare / pgqueuer", ratio(PREPARE, PEER), Aim(5.0)),
            Ratio("whole life / pgqueuer", ratio(LIFE, PEER), Aim(0.5)),
            Ratio("prepare / limit", ratio(PREPARE, LIMIT)),
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
    others = _table("found", "", "unit", "aim", "reached")
    for finding in report.findings:
        number = f"{finding.value:,.2f}" if finding.value < SHOWN_WHOLE else f"{finding.value:,.0f}"
        others.add_row(finding.name, number, finding.unit, *_reached(finding.aim, finding.value))
    console.print(others)
    memory = _table("memory after the run", "MB")
    for service, megabytes in report.memory_megabytes.items():
        memory.add_row(service, f"{megabytes:.0f}")
    console.print(memory)
    console.print(f"  pgqueuer: {peer.SETTINGS}", style="dim")


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
        "peer_settings": peer.SETTINGS,
        "runs": {
            name: [{**asdict(run), "per_second": run.per_second} for run in runs]
            for name, runs in report.runs.items()
        },
        "ratios": [
            {**asdict(ratio), "reached": ratio.aim and ratio.aim.reached(ratio.summary.median)}
            for ratio in report.ratios()
        ],
        "prepare_cpu_microseconds": report.costs_microseconds(),
        "findings": [
            {**asdict(one), "reached": one.aim and one.aim.reached(one.value)}
            for one in report.findings
        ],
        "memory_megabytes": dict(report.memory_megabytes),
    }
    file.write_text(json.dumps(data, indent=2) + "\n")
    return file


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, header in enumerate(headers):
        # Where it is narrow, words are broken and numbers are not.
        table.add_column(header, justify="right" if place else "left", no_wrap=place > 0)
    return table
