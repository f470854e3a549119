"""Payments of one customer as the database holds them: what the use cases do, without a database."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.attempts import (
    Attempt,
    ask_customer,
    is_over,
    present_attempt,
    settle_attempt,
    state_after,
)
from services.payments.domain.charges import (
    AbandonReason,
    Charge,
    abandon,
    confirm_request,
    expire,
    is_expired,
    present_mandate,
)
from services.payments.domain.consent import Mandate, Notice
from services.payments.domain.credit import Credit
from services.payments.domain.decisions import Evidence, decide_all
from services.payments.domain.idempotent_retries import counted_minor, resend_all
from services.payments.domain.keys import ChargeId, ChargeKey, MandateId, MandateKey
from services.payments.domain.outcomes import (
    Declined,
    FinalOutcome,
    NotMade,
    Outcome,
    Pending,
    RequiresAction,
    Succeeded,
)
from services.payments.domain.transitions import (
    OPEN_ATTEMPTS,
    AttemptState,
    ChargeState,
    MandateState,
)
from services.payments.domain.verdicts import Verdict
from tests.unit.payments.strategies import ANN, CHARGE, VISA

CANCELLED = Declined("authentication_required", hard=True)
# What the provider can say of an attempt, by what is known of it.
ANSWERS: dict[AttemptState, list[Outcome]] = {
    AttemptState.UNKNOWN: [
        Succeeded("pi"), Declined("insufficient_funds", hard=False), NotMade(), Pending("pi"),
        RequiresAction("pi", "https://bank.example"),
    ],
    AttemptState.REQUIRES_ACTION: [
        Succeeded("pi"), CANCELLED, Pending("pi"), RequiresAction("pi", "https://bank.example"),
    ],
    AttemptState.PENDING: [Succeeded("pi"), Declined("insufficient_funds", hard=False)],
}  # fmt: skip


class Payment(NamedTuple):
    """What is paid: by an attempt that goes to the provider with its permit, or by credit alone."""

    order: int
    charge: Charge
    attempt: Attempt | None
    permit: Verdict | None


def key_of(order: int) -> ChargeKey:
    """The charge of an order."""
    return CHARGE.key._replace(charge=ChargeId(f"coffee-{order}"))


class StoredPayments:
    """Charges by order, their last attempts, and all that the guard is given."""

    def __init__(self) -> None:
        self.charges: dict[int, Charge] = {}
        self.attempts: dict[int, Attempt] = {}
        self.notices: dict[ChargeKey, Notice] = {}
        self.mandates: dict[str, Mandate] = {}
        self.mandate_changes: dict[int, str] = {}
        self.withdrawn: set[int] = set()
        self.credit = Credit(*ANN, "EUR", balance_minor=0, reserved_minor=0)

    # --- what others tell -------------------------------------------------------------------------

    def open(self, order: int, charge: Charge) -> None:
        """Add a charge; one that was withdrawn before ends at once."""
        self.charges[order] = charge
        self._end_withdrawn(order)

    def withdraw(self, order: int, now: datetime, *, unseen: bool = False) -> None:
        """Withdraw an order; unseen by whoever adds its charge at the same time, until it is read."""
        self.withdrawn.add(order)
        charge = self.charges.get(order)
        if unseen and charge is not None and not charge.attempt_count:
            return
        self._end_withdrawn(order)
        self._end_actions({order}, now)

    def change_mandate(self, order: int, mandate: str) -> None:
        """Have an order paid under another mandate."""
        self.mandate_changes[order] = MandateKey(*ANN, MandateId(mandate)).name

    def keep_notice(self, order: int, notice: Notice) -> bool:
        """Keep a notice; False if a later one is known, by the clock that it was delivered by."""
        before = self.notices.get(notice.charge_key)
        if before is not None and before.deliver_time > notice.deliver_time:
            return False
        self.notices[notice.charge_key] = notice
        charge = self.charges.get(order)
        if charge is not None and charge.notice_wait_until_time is not None:
            self.charges[order] = charge._replace(next_attempt_time=notice.deliver_time)
        return True

    def stop_mandate(self, name: str, mandate: Mandate, now: datetime) -> None:
        """Pause or revoke a mandate: what waits for its customer under it is given up."""
        self.mandates[name] = mandate
        orders = {o for o, it in self.attempts.items() if it.mandate == mandate.mandate}
        self._end_actions(orders, now)

    def confirm(self, order: int, now: datetime) -> bool:
        """Take the customer's confirmation of a request; False if it comes too late."""
        confirmed = confirm_request(self._read(order), VISA, now)
        if confirmed is not None:
            self.charges[order] = confirmed
        return confirmed is not None

    def give_credit(self, amount_minor: int) -> bool:
        """Give credit, or pay it out: never more than no charge has reserved."""
        if self.credit.available_minor + amount_minor < 0:
            return False
        self._move_credit(amount_minor, 0)
        return True

    # --- what the workers do ----------------------------------------------------------------------

    def expire_requests(self, now: datetime) -> None:
        """End the requests that nobody has confirmed in time."""
        for order, charge in self.charges.items():
            if charge.state is ChargeState.REQUESTED and is_expired(charge, now):
                self.charges[order] = expire(charge, now)

    def decide_due(self, now: datetime) -> Iterator[Payment]:
        """Decide what is due, one after the other; returns what is paid."""
        due = {
            order: self._read(order)
            for order, charge in self.charges.items()
            if charge.state is ChargeState.SCHEDULED
            and charge.next_attempt_time is not None
            and charge.next_attempt_time <= now
        }
        decisions = list(decide_all(due.values(), self._evidence(now), now))
        for order, (charge, verdict) in zip(due, decisions, strict=True):
            self.charges[order] = charge
            if charge.state is ChargeState.SUCCEEDED:
                self._move_credit(-charge.credit_minor, 0)
                yield Payment(order, charge, None, None)
            elif charge.state is ChargeState.IN_FLIGHT:
                self._move_credit(0, charge.credit_minor)
                self.attempts[order] = present_attempt(charge, now)
                yield Payment(order, charge, self.attempts[order], verdict)

    def resend_lost(self, now: datetime) -> Iterator[Payment]:
        """Send attempts once more that the provider does not have."""
        lost = {
            key_of(order): order
            for order, attempt in self.attempts.items()
            if attempt.state is AttemptState.UNKNOWN
        }
        missing = [(self._read(order), self.attempts[order]) for order in lost.values()]
        for permit in list(resend_all(missing, self._evidence(now), now)):
            order = lost[permit.charge_key]
            again = replace(self.attempts[order], resend_time=now, permit=permit.permit)
            self.attempts[order] = again
            yield Payment(order, self._read(order), again, permit)

    def settle(self, order: int, outcome: FinalOutcome, now: datetime) -> None:
        """Write what became of an attempt; the credit that it reserved is used, or free again."""
        charge, attempt = self._read(order), self.attempts[order]
        self.attempts[order] = replace(attempt, state=state_after(attempt, outcome))
        self.charges[order] = settle_attempt(charge, attempt, outcome, now)
        self._move_credit(-self.charges[order].credit_minor, -charge.credit_minor)

    def wait(self, order: int, outcome: Pending | RequiresAction, now: datetime) -> None:
        """Wait for the customer or the bank, unless the payment is not wanted any more."""
        attempt, charge = self.attempts[order], self._read(order)
        mandate = self.mandates.get(attempt.mandate)
        wanted = mandate is None or mandate.state(now) is MandateState.ACTIVE
        if isinstance(outcome, RequiresAction):
            waiting = ask_customer(charge, attempt, wanted=wanted, now=now)
        else:
            ended = None if wanted and not charge.withdrawn else attempt.action_expire_time or now
            waiting = replace(attempt, action_expire_time=ended, next_lookup_time=now)
        self.attempts[order] = replace(waiting, state=state_after(attempt, outcome))

    def given_up(self, now: datetime) -> list[int]:
        """The orders whose attempts a look-up that is due has the provider cancel."""
        waiting = OPEN_ATTEMPTS - {AttemptState.UNKNOWN}
        return [
            order
            for order, attempt in self.attempts.items()
            if attempt.state in waiting
            and attempt.next_lookup_time is not None
            and attempt.next_lookup_time <= now
            and is_over(attempt, now)
        ]

    # --- what is stored ---------------------------------------------------------------------------

    def _read(self, order: int) -> Charge:
        """A charge with its latest instructions, as every statement reads it."""
        charge = self.charges[order]
        return charge._replace(
            withdrawn=order in self.withdrawn,
            mandate=present_mandate(charge, self.mandate_changes.get(order, "")),
        )

    def _end_withdrawn(self, order: int) -> None:
        if order not in self.charges:
            return
        charge = self._read(order)
        if charge.withdrawn and charge.state in {ChargeState.SCHEDULED, ChargeState.REQUESTED}:
            self.charges[order] = abandon(charge, AbandonReason.WITHDRAWN, charge.update_time)

    def _end_actions(self, orders: set[int], now: datetime) -> None:
        for order in orders & self.attempts.keys():
            attempt = self.attempts[order]
            if attempt.state in OPEN_ATTEMPTS - {AttemptState.UNKNOWN}:
                known = min(attempt.action_expire_time or now, now)
                self.attempts[order] = replace(
                    attempt, action_expire_time=known, next_lookup_time=now
                )

    def _move_credit(self, balance_minor: int, reserved_minor: int) -> None:
        self.credit = replace(
            self.credit,
            balance_minor=self.credit.balance_minor + balance_minor,
            reserved_minor=self.credit.reserved_minor + reserved_minor,
        )

    def _evidence(self, now: datetime) -> Evidence:
        spent_minor: Counter[MandateKey] = Counter()
        for attempt in self.attempts.values():
            mandate = self.mandates.get(attempt.mandate)
            if mandate is not None and attempt.state in OPEN_ATTEMPTS | {AttemptState.SUCCEEDED}:
                spent_minor[mandate.key] += counted_minor(attempt, mandate.period(now))
        mandates = {mandate.key: mandate for mandate in self.mandates.values()}
        credit_minor = {self.credit.key: self.credit.available_minor}
        return Evidence(self.notices, mandates, spent_minor, {}, credit_minor=credit_minor)
