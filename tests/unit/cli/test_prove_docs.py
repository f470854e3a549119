"""What the page on reliability promises is what a proof judges."""

import re
from pathlib import Path

from cli.prove import cycles, progress, run, witness

PAGE = Path(__file__).parents[3] / "docs/reliability.md"


def test_the_page_has_every_clause_as_the_proof_words_it() -> None:
    clauses = {
        *run.LOCAL, *run.AGREEMENTS, *witness.CLAUSES, progress.NO_EVENT_UNTOLD,
        cycles.CYCLES_ON_CALENDAR, cycles.NO_DATE_BILLED_AGAIN,
    }  # fmt: skip
    promised = PAGE.read_text().partition("## What is promised")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", promised, re.MULTILINE)
    assert sorted(table) == sorted((clause.id, clause.promise) for clause in clauses)
