"""`recurring import FILE` of a whole book, as a merchant runs it, from the file to the answer."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.measure import Aim, Figure, Run, check
from bench.seed import PRODUCTS, TIME_ZONE, Book
from bench.stack import Stack
from deploy.embedded.program import ROOT
from deploy.embedded.wiring import SCOPE_PLATFORM

ROWS = 100_000
# "In minutes" for 100 000 rows.
MINUTES_AIM = Aim(3.0, at_least=False)
HEADER = (
    "id", "customer", "title", "items", "every", "start", "zone", "next_cycle", "next_date", "mandate",
)  # fmt: skip
SECONDS_PER_MINUTE = 60


def measure(stack: Stack, book: Book) -> Run:
    """Import as many rows as the book has customers."""
    file = stack.home / "book.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(HEADER)
        writer.writerows(_rows(book))
    token = stack.keys.token_file("bench-importer", merchant=book.merchant, scope=SCOPE_PLATFORM)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "cli", "import", "--json", str(file)],
        cwd=ROOT,
        env={
            **os.environ,
            "RECURRING_HOME": str(stack.home),
            "RECURRING_MERCHANT": book.merchant,
            "RECURRING_TOKEN_FILE": str(token),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    answer = json.loads(done.stdout) if done.returncode == 0 else {"importedCount": 0}
    check(f"rows imported ({done.stderr.strip()[-500:]})", book.count, answer["importedCount"])
    return Run(book.count, seconds)


def _rows(book: Book) -> Iterator[tuple[object, ...]]:
    day = book.due_date.isoformat()
    for number in range(1, book.count + 1):
        items = ";".join(
            f"product-{(number + item) % PRODUCTS}={1 + number % 3}"
            for item in range(1 + number % 2)
        )
        yield (
            f"moved-{number}", f"customer-{number}", "Breakfast", items, "month", day, TIME_ZONE,
            7, day, "main",
        )  # fmt: skip


def figures(run: Run) -> list[Figure]:
    """How fast it was, and how long 100 000 rows take at that rate."""
    minutes = ROWS / run.per_second / SECONDS_PER_MINUTE
    return [
        Figure(f"import of {run.count:,} rows", run.per_second, "rows/s"),
        Figure(f"import: {ROWS:,} rows at that rate", minutes, "min", MINUTES_AIM),
    ]
