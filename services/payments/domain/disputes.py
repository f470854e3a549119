"""Disputes: what payers say to their banks about charges, and what becomes of that.

The provider alone knows where a dispute stands. So its state is what the provider reports, kept only
where it can follow what was known; and its money is booked as the provider has moved it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    DisputeId,
    DisputeKey,
    MandateId,
    MandateKey,
    MerchantId,
    derived_key,
)
from services.runtime.transitions import Transitions

# An open dispute is looked up again so long afterwards, without a webhook.
LOOKUP_INTERVAL = timedelta(days=1)


class DisputeState(StrEnum):
    """Where a dispute stands."""

    # The bank only asks, and no money is withdrawn.
    INQUIRY_NEEDS_RESPONSE = "INQUIRY_NEEDS_RESPONSE"
    INQUIRY_UNDER_REVIEW = "INQUIRY_UNDER_REVIEW"
    INQUIRY_CLOSED = "INQUIRY_CLOSED"
    NEEDS_RESPONSE = "NEEDS_RESPONSE"
    UNDER_REVIEW = "UNDER_REVIEW"
    WON = "WON"
    LOST = "LOST"


INQUIRIES = frozenset({
    DisputeState.INQUIRY_NEEDS_RESPONSE, DisputeState.INQUIRY_UNDER_REVIEW, DisputeState.INQUIRY_CLOSED,
})  # fmt: skip
# The payer wants the money back, and nobody has decided yet.
CONTESTED = frozenset({DisputeState.NEEDS_RESPONSE, DisputeState.UNDER_REVIEW})
ANSWERABLE = frozenset({DisputeState.INQUIRY_NEEDS_RESPONSE, DisputeState.NEEDS_RESPONSE})
CLOSED = frozenset({DisputeState.INQUIRY_CLOSED, DisputeState.WON, DisputeState.LOST})
_INQUIRY = DisputeState.INQUIRY_NEEDS_RESPONSE, DisputeState.INQUIRY_UNDER_REVIEW
_DECIDED = DisputeState.WON, DisputeState.LOST
_FOLLOWING = {
    DisputeState.INQUIRY_NEEDS_RESPONSE: frozenset(DisputeState),
    DisputeState.INQUIRY_UNDER_REVIEW: frozenset(DisputeState),
    DisputeState.INQUIRY_CLOSED: frozenset({*CONTESTED, *_DECIDED, DisputeState.INQUIRY_CLOSED}),
    DisputeState.NEEDS_RESPONSE: frozenset({*CONTESTED, *_DECIDED}),
    DisputeState.UNDER_REVIEW: frozenset({*CONTESTED, *_DECIDED}),
    DisputeState.WON: frozenset({DisputeState.WON}),
    # A payer may let the merchant have the money all the same.
    DisputeState.LOST: frozenset(_DECIDED),
}
# What the provider reports, and where it leads: to itself, or nowhere.
DISPUTE = Transitions(
    {
        (before, reported): reported
        for before, following in _FOLLOWING.items()
        for reported in sorted(following)
    }
)


class DisputeResponse(StrEnum):
    """What the merchant answered to a dispute."""

    NONE = "NONE"
    EVIDENCE = "EVIDENCE"
    ACCEPTANCE = "ACCEPTANCE"


class ChargingPolicy(StrEnum):
    """Whether charges go on under the mandate of a disputed charge."""

    GO_ON = "GO_ON"
    STOP_WHILE_OPEN = "STOP_WHILE_OPEN"
    # While it is open, and for good once it is lost.
    STOP_UNLESS_WON = "STOP_UNLESS_WON"


@dataclass(frozen=True, slots=True)
class DisputePolicy:
    """What a merchant has done about disputes."""

    merchant: MerchantId
    charging: ChargingPolicy = ChargingPolicy.STOP_UNLESS_WON
    version: int = 1


@dataclass(frozen=True, slots=True)
class DisputeReport:
    """A dispute as the provider shows it."""

    provider: str
    provider_dispute: str
    # The payment that is disputed, and the charge that it says it was made for; None: for none.
    provider_payment: str
    charge: ChargeKey | None
    amount_minor: int
    currency: str
    # As the provider names it.
    reason: str
    state: DisputeState
    open_time: datetime
    evidence_due_time: datetime | None = None
    withdraw_time: datetime | None = None
    reinstate_time: datetime | None = None
    # What the provider takes for it.
    fee_minor: int = 0
    fee_currency: str = ""
    # Whether it has evidence that was submitted.
    is_answered: bool = False
    # The bank sent the payment back by itself after it had counted as paid; the payer disputes nothing.
    late_failure: bool = False


@dataclass(frozen=True, slots=True)
class NotDisputed:
    """Nothing was taken back of the payment that a dispute would be of."""


class ListedDispute(NamedTuple):
    """A dispute in the provider's list."""

    provider_dispute: str
    # Whether it was decided again: it is looked up even if it is known, and was over.
    is_decided_anew: bool = False


@dataclass(frozen=True, slots=True)
class DisputeLookup:
    """A dispute of the provider's that is to be looked up, whose charge may not be known yet."""

    provider: str
    provider_dispute: str
    # How often it was looked up without an answer.
    try_count: int = 0
    # Why people have to look at it; empty if they don't.
    finding: str = ""


@dataclass(frozen=True, slots=True)
class Dispute:
    """A charge that its payer disputes."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    dispute: DisputeId
    provider: str
    provider_dispute: str
    # That the charge was made under; empty: the customer confirmed it.
    mandate: MandateId
    amount_minor: int
    currency: str
    reason: str
    state: DisputeState
    open_time: datetime
    update_time: datetime
    evidence_due_time: datetime | None = None
    # When the provider took the money, and gave it back.
    withdraw_time: datetime | None = None
    reinstate_time: datetime | None = None
    fee_minor: int = 0
    fee_currency: str = ""
    close_time: datetime | None = None
    response: DisputeResponse = DisputeResponse.NONE
    response_time: datetime | None = None
    # When the provider has taken the response.
    response_send_time: datetime | None = None
    # Why the provider refused it, as it says.
    response_failure: str = ""
    # Encrypted, as JSON by the provider's field; empty if there is none, or it was erased.
    evidence: bytes = b""
    send_count: int = 0
    # The bank sent the payment back by itself after it had counted as paid; the payer disputes nothing.
    late_failure: bool = False

    @property
    def key(self) -> DisputeKey:
        """Which it is."""
        return DisputeKey(self.merchant, self.customer, self.dispute)

    @property
    def name(self) -> str:
        """The resource name."""
        return self.key.name

    @property
    def charge_key(self) -> ChargeKey:
        """What is disputed."""
        return ChargeKey(self.merchant, self.customer, self.charge)

    @property
    def mandate_key(self) -> MandateKey:
        """What it was made under, if anything."""
        return MandateKey(self.merchant, self.customer, self.mandate)

    @property
    def mandate_name(self) -> str:
        """The resource name of that; empty if there is none."""
        return self.mandate_key.name if self.mandate else ""

    @property
    def response_key(self) -> str:
        """By which the provider knows the response, sent this time.

        What it has answered, errors of its own too, it answers for as long as it remembers the key, and
        evidence has no time for that. So what is sent once more, or after a refusal, has another key.
        """
        sent = (str(self.response_time), str(self.send_count))
        return derived_key(self.name, self.response, *sent)


def dispute_id(provider: str, provider_dispute: str) -> DisputeId:
    """The id of a dispute, derived from the provider's: there is one of each."""
    return DisputeId(derived_key("dispute", provider, provider_dispute))


def new_dispute(
    report: DisputeReport, charge: ChargeKey, mandate: MandateId, now: datetime
) -> Dispute:
    """A dispute that was not known before."""
    opened = Dispute(
        *charge,
        dispute=dispute_id(report.provider, report.provider_dispute),
        provider=report.provider,
        provider_dispute=report.provider_dispute,
        mandate=mandate,
        amount_minor=report.amount_minor,
        currency=report.currency,
        reason=report.reason,
        state=report.state,
        open_time=report.open_time,
        update_time=now,
        late_failure=report.late_failure,
    )
    return _with_facts(opened, report, now)


def reported(dispute: Dispute, report: DisputeReport, now: datetime) -> Dispute:
    """A dispute as the provider shows it now. Raises IllegalTransitionError if it can't follow."""
    state = DISPUTE.to(dispute.state, report.state)
    return _with_facts(replace(dispute, state=state), report, now)


def _with_facts(dispute: Dispute, report: DisputeReport, now: datetime) -> Dispute:
    closed = dispute.state in CLOSED
    # What was taken is booked, and stays as it is.
    is_taken = dispute.withdraw_time is not None
    changed = replace(
        dispute,
        amount_minor=dispute.amount_minor if is_taken else report.amount_minor,
        reason=report.reason,
        evidence_due_time=report.evidence_due_time,
        withdraw_time=dispute.withdraw_time or report.withdraw_time,
        reinstate_time=dispute.reinstate_time or report.reinstate_time,
        fee_minor=report.fee_minor,
        fee_currency=report.fee_currency,
        close_time=(dispute.close_time or now) if closed else None,
    )
    # What is looked up every day and has not changed is not written.
    return changed if changed == dispute else replace(changed, update_time=now)


def next_lookup_time(report: DisputeReport, now: datetime) -> datetime | None:
    """When a dispute is looked up again without a webhook; None: it is over, and its money is back."""
    taken = report.withdraw_time is not None and report.reinstate_time is None
    awaits_money = report.state is DisputeState.WON and taken
    is_over = report.state in CLOSED and not awaits_money
    return None if is_over else now + LOOKUP_INTERVAL


def stops_charges(state: DisputeState, policy: ChargingPolicy) -> bool:
    """Whether nothing is charged, until it is over, under the mandate of what is disputed."""
    return state in CONTESTED and policy is not ChargingPolicy.GO_ON


def questions_mandate(dispute: Dispute) -> bool:
    """Whether a dispute is about the payer's consent: what a bank asks, or fails to pay, is not."""
    return bool(dispute.mandate) and dispute.state not in INQUIRIES and not dispute.late_failure


def keeps_paused(state: DisputeState, policy: ChargingPolicy) -> bool:
    """Whether the mandate stays paused when a dispute has come to a state."""
    lost = state is DisputeState.LOST and policy is ChargingPolicy.STOP_UNLESS_WON
    return lost or stops_charges(state, policy)
