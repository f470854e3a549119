"""What a cycle costs while the table grows: the same number of due cycles among ever more that rest."""

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench import prepare, seed
from bench.measure import Aim, Figure, Run
from bench.seed import Book
from bench.stack import Stack

SIZES = (1_000, 100_000, 1_000_000)
DUE = 1_000
# Flat, but for deeper indexes and colder pages.
GROWTH_AIM = Aim(1.25, at_least=False)


async def measure(
    stack: Stack, due: Book, resting: Book, sizes: Sequence[int], rounds: int
) -> dict[int, list[Run]]:
    """Prepare the book that is due, once a round, at each size of the table.

    `resting` is due later than anything that is prepared here.
    """
    runs: dict[int, list[Run]] = {}
    stored = 0
    for size in sizes:
        missing = size - due.count - stored
        if missing > 0:
            await seed.fill(stack, replace(resting, merchant=f"resting-{size}", count=missing))
            stored += missing
        runs[size] = []
        for number in range(rounds):
            book = replace(due, merchant=f"due-{size}-{number}")
            await seed.fill(stack, book)
            await asyncio.to_thread(stack.checkpoint)
            runs[size].append(await prepare.measure(stack, book))
            await seed.remove(stack, book)
    return runs


def figures(runs: Mapping[int, Sequence[Run]]) -> list[Figure]:
    """What a cycle costs at each size, and how much more at the last than at the first."""
    costs = {
        size: sum(sum(run.cpu_seconds.values()) for run in runs_of_size)
        / sum(run.count for run in runs_of_size)
        for size, runs_of_size in runs.items()
    }
    figures = [
        figure
        for size, runs_of_size in runs.items()
        for figure in (
            Figure(f"prepare among {size:,}: CPU a cycle", costs[size] * 1e6, "µs"),
            Figure(
                f"prepare among {size:,}: cycles a second",
                statistics.median(run.per_second for run in runs_of_size),
                "/s",
            ),
        )
    ]
    first, last = min(costs), max(costs)
    if first != last:
        growth = costs[last] / costs[first]
        name = f"CPU a cycle among {last:,} / among {first:,}"
        figures.append(Figure(name, growth, "times", GROWTH_AIM))
    return figures
