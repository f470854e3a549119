"""What the page on reliability promises is what a proof judges."""

import re
from pathlib import Path

from cli.prove import cycles, progress, run, webhooks, witness

PAGE = Path(__file__).parents[3] / "docs/reliability.md"


def test_the_page_has_every_clause_as_the_proof_words_it() -> None:
    clauses = {
        *run.OF_ROWS, *witness.CLAUSES,
        progress.NO_EVENT_UNDELIVERED, cycles.CYCLES_ON_CALENDAR, cycles.NO_DATE_BILLED_AGAIN,
        webhooks.WEBHOOK_EVENTS_KEPT,
    }  # fmt: skip
    promised = PAGE.read_text().partition("## What is promised")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", promised, re.MULTILINE)
    assert sorted(table) == sorted((clause.id, clause.promise) for clause in clauses)


def test_the_page_names_the_clauses_that_read_every_row_in_every_proof() -> None:
    [named] = re.findall(
        r"\*\*Read in whole by every proof\*\*: (.+?)\.", PAGE.read_text(), re.DOTALL
    )
    joint = {clause.id for each in run.JOINT if not each.settled_by for clause in each.clauses}
    whole = {clause.id for clause in run.LOCAL if not clause.settled_by} | joint
    assert set(re.findall(r"`([a-z-]+)`", named)) == whole


def test_a_clause_leaves_out_days_if_and_only_if_it_names_the_digests_that_cover_them() -> None:
    for clause in run.LOCAL:
        for statement in (clause.checked, f"{clause.given} {clause.violations}"):
            leaves_out = "UNSETTLED" in f"{statement} {clause.given_of_unsettled}"
            assert leaves_out == bool(clause.settled_by), clause.id
    for joint in run.JOINT:
        for statement in (joint.checked, joint.violations):
            assert ("UNSETTLED" in statement) == bool(joint.settled_by)
