"""All checks, in the order in which they are shown. Each is a pure function of the records."""

from collections.abc import Callable, Sequence

from cli.prove import cycles, mandates, money, notices, progress, stock
from cli.prove.findings import Check
from cli.prove.records import Records

CHECKS: Sequence[Callable[[Records], Check]] = (
    cycles.check_cycles,
    cycles.check_dates,
    money.check_payments,
    money.check_refunds,
    money.check_ledger,
    notices.check_promises,
    mandates.check_consent,
    notices.check_messages,
    stock.check_stock,
    progress.check_waiting,
    progress.check_backlogs,
)
