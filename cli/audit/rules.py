"""What holds beyond the comparison of records: consent, stock, and that nothing waits for ever."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from cli.audit import checks
from cli.audit.checks import SUCCEEDED, Check, Finding, Kind
from cli.audit.facts import Attempt, Facts, Mandate, OrderKey
from cli.values import format_minor, format_moment

# How late something may be done after its time: services that were away catch up meanwhile.
LATE_MAX = timedelta(hours=1)
# Attempts that took money, or may have.
COUNTED_STATES = {SUCCEEDED, "UNKNOWN"}
ENDED_ORDER_STATES = {"PAID", "SKIPPED", "LAPSED", "CANCELLED"}


def check_consent(facts: Facts) -> Check:
    """Every payment without the customer's own yes had an active mandate, and kept its ceilings."""
    mandates = {mandate.name: mandate for mandate in facts.mandates}
    modes = {charge.name: charge.billing_mode for charge in facts.charges}
    findings: list[Finding] = []
    months: dict[tuple[str, int, int], int] = defaultdict(int)
    under = [attempt for attempt in facts.attempts if attempt.state in COUNTED_STATES]
    under = [attempt for attempt in under if modes.get(attempt.charge) == "AUTOMATIC"]
    for attempt in under:
        mandate = mandates.get(attempt.mandate)
        broken = list(_broken_consent(attempt, mandate))
        findings += [
            _wrong(f"attempt {attempt.number} of {attempt.charge} {why}") for why in broken
        ]
        month = attempt.start_time.astimezone(UTC)
        months[attempt.mandate, month.year, month.month] += attempt.amount_minor
    for (name, year, month_number), paid_minor in months.items():
        mandate = mandates.get(name)
        ceiling = mandate.month_ceiling_minor if mandate else None
        if mandate and ceiling is not None and paid_minor > ceiling:
            findings.append(
                _wrong(
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


def check_stock(facts: Facts) -> Check:
    """Units of paid orders have left the stock, those of ended orders are free, and the sums agree."""
    states = {order.key: order.state for order in facts.orders}
    findings: list[Finding] = []
    held: dict[tuple[str, str], int] = defaultdict(int)
    for hold in facts.holds:
        state = states.get(hold.key)
        what = f"{hold.quantity} {hold.product} for {_order(hold.key)}"
        if hold.state == "HELD":
            held[hold.key[0], hold.product] += hold.quantity
        if state == "PAID" and hold.state != "COMMITTED":
            findings.append(_wrong(f"{what}, which is paid, are {hold.state}"))
        elif state != "PAID" and hold.state == "COMMITTED":
            findings.append(_wrong(f"{what}, which is {state}, are COMMITTED"))
        elif state in {None, *ENDED_ORDER_STATES} and hold.state == "HELD":
            findings.append(_wrong(f"{what}, which is {state}, are HELD"))
    for stock in facts.stocks:
        sum_units = held.pop((stock.merchant, stock.product), 0)
        if sum_units != stock.held_units:
            text = f"{stock.held_units} {stock.product} count as held, the holds have {sum_units}"
            findings.append(Finding(Kind.IMBALANCE, text))
    findings += [
        Finding(Kind.MISSING, f"no stock of {product}, of which {units} are held")
        for (_, product), units in held.items()
    ]
    return Check(
        "stock held / its orders", str(len(facts.holds)), str(len(facts.stocks)), tuple(findings)
    )


def check_waiting(facts: Facts) -> Check:
    """Nothing waits for ever: neither for its time, which is past, nor for somebody who is done."""
    findings = [
        _wrong(
            f"{each.service}: {each.what} {each.name} waits since {format_moment(each.due_time)}"
        )
        for each in facts.waiting
        if facts.now - each.due_time > LATE_MAX
    ]
    live = {
        charge.order
        for charge in facts.charges
        if charge.state in {"SCHEDULED", "REQUESTED", "IN_FLIGHT"}
    }
    asked = [order for order in facts.orders if order.state == "AWAITING_PAYMENT"]
    findings += [
        _wrong(f"{order.name} waits for a payment that nobody is to make")
        for order in asked
        if order.name not in live
    ]
    waiting = len(facts.waiting) + len(asked)
    return Check("waiting / within its time", str(waiting), str(waiting - len(findings)),
                 tuple(findings))  # fmt: skip


CHECKS: Sequence[Callable[[Facts], Check]] = (
    checks.check_cycles,
    checks.check_dates,
    checks.check_payments,
    checks.check_refunds,
    checks.check_ledger,
    checks.check_promises,
    check_consent,
    checks.check_messages,
    check_stock,
    check_waiting,
    checks.check_backlogs,
)


def _wrong(text: str) -> Finding:
    return Finding(Kind.WRONG, text)


def _order(key: OrderKey) -> str:
    return f"cycle {key[2]} of {key[0]}/{key[1]}"
