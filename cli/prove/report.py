"""The audit for people: a table of what was compared, and each thing that does not agree."""

from collections.abc import Sequence

import typer
from rich.text import Text

from cli.command import FAILED, command
from cli.connect import Session
from cli.output import new_table
from cli.prove.checks import CHECKS
from cli.prove.findings import Check, Kind
from cli.prove.read import read_records

FINDINGS_SHOWN_MAX = 20


async def prove(session: Session) -> list[str]:
    """Compare everything, show it, and return what does not agree.

    Raises CommandError if something to be compared is out of reach.
    """
    records = await read_records(session)
    checks = [check(records) for check in CHECKS]
    if session.output.as_json:
        session.output.data([_data(check) for check in checks])
    else:
        _show(session, checks)
    return [finding.text for check in checks for finding in check.findings]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "prove")
    async def run(session: Session) -> None:
        """Compare the databases with the outside world's records; status 1 if they disagree.

        Checked are: an order for each due cycle, on the calendar's date, none billed again after it was
        brought forward; payments, refunds and the ledger against the provider's books; of each payment
        its notice, amount, time and lead, its mandate and ceilings; messages against the gateways;
        stock; that nothing is overdue, unpublished or dead. Erased customers are checked, too.
        """
        if await prove(session):
            raise typer.Exit(FAILED)


def _show(session: Session, checks: Sequence[Check]) -> None:
    table = new_table("clause", "expected", "found", *(kind.value for kind in Kind))
    for column in table.columns[1:]:
        column.justify = "right"
    for check in checks:
        counts = [check.count(kind) for kind in Kind]
        cells = [Text(str(count), style="bold red" if count else "green") for count in counts]
        table.add_row(check.what, check.expected, check.found, *cells)
    session.output.table(table)
    findings = [finding for check in checks for finding in check.findings]
    for finding in findings[:FINDINGS_SHOWN_MAX]:
        session.output.say(f"{finding.kind}: {finding.text}")
    if len(findings) > FINDINGS_SHOWN_MAX:
        session.output.say(f"… and {len(findings) - FINDINGS_SHOWN_MAX} more")
    totals = ", ".join(f"{kind} {sum(check.count(kind) for check in checks)}" for kind in Kind)
    session.output.say(f"proof: {totals}")


def _data(check: Check) -> dict[str, object]:
    return {
        "what": check.what,
        "expected": check.expected,
        "found": check.found,
        "findings": [{"kind": finding.kind, "text": finding.text} for finding in check.findings],
    }
