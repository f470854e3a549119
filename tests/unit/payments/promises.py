"""What customers were promised, as facts, and which promise a charge breaks.

It stands beside the guard and shares no code with it: it knows what happened, and not why the guard
decided as it did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass
class Consent:
    """What a customer has agreed to, as it stands."""

    currency: str
    charge_ceiling_minor: int
    period_ceiling_minor: int | None
    valid_from_time: datetime
    valid_until_time: datetime | None
    # What stops it: it is not confirmed, paused or revoked.
    stopped_by: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Announcement:
    """What a delivered notice said."""

    amount_minor: int
    currency: str
    not_before_time: datetime
    deliver_time: datetime
    # Whether it said that the customer would be asked first.
    asks: bool


@dataclass
class Sent:
    """A payment that was sent to the provider, and may have moved money until it is known not to."""

    order: int
    consent: str
    amount_minor: int
    times: list[datetime]
    may_have_moved: bool = True


@dataclass
class Facts:
    """All that happened to one customer."""

    consents: dict[str, Consent] = field(default_factory=dict)
    # By order: what was announced, the last one last.
    announcements: dict[int, list[Announcement]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    withdrawn: set[int] = field(default_factory=set)
    # Orders that the customer has confirmed, until the provider has answered.
    confirmed: set[int] = field(default_factory=set)
    # By order: until when it can be confirmed, how long after its notice it may be charged at the
    # earliest, and above which amount the customer is asked.
    expire_times: dict[int, datetime] = field(default_factory=dict)
    leads: dict[int, timedelta] = field(default_factory=dict)
    asked_above_minor: dict[int, int] = field(default_factory=dict)


def broken_promises(
    facts: Facts, order: int, amount_minor: int, currency: str, consent: str, at: datetime
) -> list[str]:
    """The promises that a payment breaks that is sent now; it is the last of those sent."""
    broken = list(_of_order(facts, order, at))
    last = facts.announcements.get(order, [])[-1:]
    broken += _of_notice(last, facts.leads.get(order), amount_minor, currency, consent, at)
    if consent:
        broken += _of_consent(facts.consents, consent, amount_minor, currency, at)
        broken += _of_month(facts, consent, at)
        if amount_minor > facts.asked_above_minor.get(order, amount_minor):
            broken.append("the customer is asked above an amount, and was not")
    elif order not in facts.confirmed:
        broken.append("nobody confirmed it")
    return broken


def _of_order(facts: Facts, order: int, at: datetime) -> Iterator[str]:
    if len([sent for sent in facts.sent if sent.order == order and sent.may_have_moved]) > 1:
        yield "the order may have been paid already"
    if order in facts.withdrawn:
        yield "the order was skipped or cancelled"
    if order in facts.expire_times and at >= facts.expire_times[order]:
        yield "the request to pay was over"


def _of_notice(
    last: Sequence[Announcement],
    lead: timedelta | None,
    amount_minor: int,
    currency: str,
    consent: str,
    at: datetime,
) -> Iterator[str]:
    if not last and consent:
        yield "no notice was delivered"
    for said in last:
        if (said.currency, True) != (currency, amount_minor <= said.amount_minor):
            yield "it is more than the notice said"
        if at < said.not_before_time:
            yield "it is earlier than the notice said"
        if consent and said.asks:
            yield "the notice said that the customer would be asked"
        if consent and lead is not None and at - said.deliver_time < lead:
            yield "the notice was delivered too late"


def _of_consent(
    consents: Mapping[str, Consent], name: str, amount_minor: int, currency: str, at: datetime
) -> Iterator[str]:
    if name not in consents:
        yield "there is no such consent"
        return
    consent = consents[name]
    if consent.stopped_by:
        yield f"the consent is {', '.join(sorted(consent.stopped_by))}"
    if at < consent.valid_from_time or (
        consent.valid_until_time is not None and at >= consent.valid_until_time
    ):
        yield "the consent is not valid then"
    if consent.currency != currency or amount_minor > consent.charge_ceiling_minor:
        yield "it is more than was agreed to for one charge"


def _of_month(facts: Facts, name: str, at: datetime) -> Iterator[str]:
    consent = facts.consents.get(name)
    if consent is None or consent.period_ceiling_minor is None:
        return
    month = at.astimezone(UTC).strftime("%Y-%m")
    spent_minor = sum(
        sent.amount_minor
        for sent in facts.sent
        if sent.consent == name
        and sent.may_have_moved
        and month in {time.astimezone(UTC).strftime("%Y-%m") for time in sent.times}
    )
    if spent_minor > consent.period_ceiling_minor:
        yield "it is more than was agreed to for a month"
