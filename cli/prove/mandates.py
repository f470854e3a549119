"""Checks of mandates: each payment without the customer's own yes keeps to one."""

from collections import defaultdict
from datetime import UTC, datetime

from cli.prove.findings import SUCCEEDED, Check, Finding, wrong
from cli.prove.records import Attempt, Mandate, Records
from cli.values import format_minor

# Attempts that took money, or may have.
COUNTED_STATES = {SUCCEEDED, "UNKNOWN"}


def check_consent(records: Records) -> Check:
    """Every payment without the customer's own yes had an active mandate, and kept its ceilings."""
    mandates = {mandate.name: mandate for mandate in records.mandates}
    modes = {charge.name: charge.billing_mode for charge in records.charges}
    findings: list[Finding] = []
    months: dict[tuple[str, int, int], int] = defaultdict(int)
    under = [attempt for attempt in records.attempts if attempt.state in COUNTED_STATES]
    under = [attempt for attempt in under if modes.get(attempt.charge) == "AUTOMATIC"]
    for attempt in under:
        mandate = mandates.get(attempt.mandate)
        broken = list(_broken_consent(attempt, mandate))
        findings += [wrong(f"attempt {attempt.number} of {attempt.charge} {why}") for why in broken]
        month = attempt.start_time.astimezone(UTC)
        months[attempt.mandate, month.year, month.month] += attempt.amount_minor
    for (name, year, month_number), paid_minor in months.items():
        mandate = mandates.get(name)
        ceiling = mandate.month_ceiling_minor if mandate else None
        if mandate and ceiling is not None and paid_minor > ceiling:
            findings.append(
                wrong(
                    f"{name} paid {format_minor(paid_minor, mandate.currency)} in"
                    f" {year}-{month_number:02}, its ceiling a month is"
                    f" {format_minor(ceiling, mandate.currency)}"
                )
            )
    kept = len(under) - len(findings)
    return Check("payments / within their mandate", str(len(under)), str(kept), tuple(findings))


def _broken_consent(attempt: Attempt, mandate: Mandate | None) -> list[str]:
    if mandate is None:
        return ["had no mandate"]
    at = attempt.start_time
    rules = {
        "was made before its mandate was valid": at < mandate.valid_from_time,
        "was made after its mandate had expired": _is_over(mandate.valid_until_time, at),
        # What happens at one instant of a simulated clock may have been in either order.
        "was made after its mandate was revoked": (
            mandate.revoke_time is not None and mandate.revoke_time < at
        ),
        "was in another currency than its mandate": attempt.currency != mandate.currency,
        "was above the ceiling of its mandate": (
            attempt.amount_minor > mandate.charge_ceiling_minor
        ),
    }
    return [why for why, is_broken in rules.items() if is_broken]


def _is_over(end: datetime | None, at: datetime) -> bool:
    return end is not None and at >= end
