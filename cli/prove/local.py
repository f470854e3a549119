"""Clauses that each database keeps by itself."""

from collections import defaultdict
from collections.abc import Sequence

from cli.prove.clauses import JointClauses, LocalClause
from cli.prove.findings import Finding, Verdict
from cli.prove.moment import Moment
from cli.prove.settled import Settled, read_own_settled


async def judge_local(moment: Moment, clause: LocalClause, *, full: bool) -> list[Verdict]:
    """How a clause stands.

    Without `full`, rows of days that are settled are not read again if the clause names the digests
    that cover them.
    """
    checked = 0
    violations: list[Finding] = []
    for service in clause.services:
        settled = await _settled(moment, service, clause.settled_by, full=full)
        given = (settled.days and clause.given_of_unsettled) or clause.given
        checked += await moment.count(service, settled.restrict(clause.checked))
        statement = settled.restrict(f"{given} {clause.violations}")
        broken = await moment.broken(service, statement)
        lead = f"{service}: " if len(clause.services) > 1 else ""
        violations += [Finding(row["merchant"], lead + row["what"]) for row in broken]
    return [Verdict(clause, checked, tuple(violations))]


async def judge_joint(moment: Moment, joint: JointClauses, *, full: bool) -> list[Verdict]:
    """As `judge_local`, of several clauses."""
    checked = 0
    findings: dict[str, list[Finding]] = defaultdict(list)
    for service in joint.services:
        settled = await _settled(moment, service, joint.settled_by, full=full)
        checked += await moment.count(service, settled.restrict(joint.checked))
        statement = settled.restrict(joint.violations)
        lead = f"{service}: " if len(joint.services) > 1 else ""
        for row in await moment.broken(service, statement, named_by="clause"):
            findings[row["clause"]].append(Finding(row["merchant"], lead + row["what"]))
    return [Verdict(clause, checked, tuple(findings[clause.id])) for clause in joint.clauses]


async def _settled(
    moment: Moment, service: str, settled_by: Sequence[str], *, full: bool
) -> Settled:
    return (
        Settled() if full or not settled_by else await read_own_settled(moment, service, settled_by)
    )
