"""The proof for people and programs: a table of the clauses, and each violation in words."""

from typing import Any

from rich.text import Text

from cli.output import Output, new_table
from cli.prove.findings import Report
from cli.values import format_moment

FINDINGS_SHOWN_MAX = 20


def show(output: Output, report: Report) -> None:
    """Print a report, as a table or as JSON."""
    if output.as_json:
        output.data(data_of(report))
        return
    table = new_table("clause", "checked", "in motion", "violations")
    for column in table.columns[1:]:
        column.justify = "right"
    for verdict in report.verdicts:
        count = len(verdict.violations)
        table.add_row(
            verdict.clause.id,
            str(verdict.checked),
            str(verdict.in_motion),
            Text(str(count), style="bold red" if count else "green"),
        )
    output.table(table)
    violations = report.violations
    for violation in violations[:FINDINGS_SHOWN_MAX]:
        output.say(violation)
    if len(violations) > FINDINGS_SHOWN_MAX:
        output.say(f"… and {len(violations) - FINDINGS_SHOWN_MAX} more")
    output.say(f"proof of {format_moment(report.moment)}: {len(violations)} violations")


def data_of(report: Report) -> dict[str, Any]:
    """A report as JSON."""
    return {
        "moment": report.moment.isoformat(),
        "merchant": report.merchant,
        "full": report.full,
        "holds": not report.violations,
        "positions": {
            service: {
                "read_time": position.read_time.isoformat(),
                "snapshot": position.snapshot,
                "event_position": position.event_position,
            }
            for service, position in sorted(report.positions.items())
        },
        "clauses": clauses_of(report),
    }


def clauses_of(report: Report) -> list[dict[str, Any]]:
    """How each clause stands, as JSON."""
    return [
        {
            "clause": verdict.clause.id,
            "promise": verdict.clause.promise,
            "checked": verdict.checked,
            "in_motion": verdict.in_motion,
            "violations": [finding.what for finding in verdict.violations],
            **({"digest": verdict.digests} if verdict.digests else {}),
        }
        for verdict in report.verdicts
    ]
