"""What customers were promised, as facts, and which promise a charge breaks.

It stands beside the guard and shares no code with it: it knows what happened, and not why the guard
decided as it did.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

# So long a customer may confirm a payment with their bank, once they are asked.
ASKED_FOR = timedelta(days=1)


@dataclass
class Consent:
    """What a customer has agreed to, as it stands."""

    currency: str
    charge_ceiling_minor: int
    # Of what is charged in a month, or in any so many days, by the dates of a zone.
    period_ceiling_minor: int | None
    valid_from_time: datetime
    valid_until_time: datetime | None
    # So long before each charge its notice is delivered.
    lead: timedelta = timedelta()
    period_days: int | None = None
    time_zone: str = "UTC"
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
    """A payment that was sent to the provider, and may have moved money until it is known not to.

    What credit alone has paid is one of nothing.
    """

    order: int
    consent: str
    amount_minor: int
    credit_minor: int
    times: list[datetime]
    may_have_moved: bool = True
    # Since when the bank waits for the customer to confirm it, if it does.
    asked_time: datetime | None = None

    @property
    def whole_minor(self) -> int:
        """What the customer pays by it, in money and credit."""
        return self.amount_minor + self.credit_minor


@dataclass
class Facts:
    """All that happened to one customer."""

    consents: dict[str, Consent] = field(default_factory=dict)
    # By order: what is owed.
    owed_minor: dict[int, int] = field(default_factory=dict)
    # By order: what was announced, the last one last.
    announcements: dict[int, list[Announcement]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    withdrawn: set[int] = field(default_factory=set)
    # Orders that the customer has confirmed, until the provider has answered.
    confirmed: set[int] = field(default_factory=set)
    # What the customer was given of credit, less what was paid out.
    credit_minor: int = 0
    # By order: until when it can be confirmed, how long after its notice it may be charged at the
    # earliest, and above which amount the customer is asked.
    expire_times: dict[int, datetime] = field(default_factory=dict)
    leads: dict[int, timedelta] = field(default_factory=dict)
    asked_above_minor: dict[int, int] = field(default_factory=dict)


def broken_promises(facts: Facts, sent: Sent, currency: str, at: datetime) -> list[str]:
    """The promises that a payment breaks that is sent now; it is one of those sent."""
    order, consent = sent.order, sent.consent
    broken = list(_of_order(facts, sent, at))
    last = facts.announcements.get(order, [])[-1:]
    leads = [facts.leads.get(order, timedelta())]
    leads += [facts.consents[consent].lead] if consent in facts.consents else []
    broken += _of_notice(last, max(leads), sent, currency, at)
    broken += _of_credit(facts)
    if consent:
        broken += _of_consent(facts.consents, sent, currency, at)
        broken += _of_period(facts, sent, at)
        if sent.whole_minor > facts.asked_above_minor.get(order, sent.whole_minor):
            broken.append("the customer is asked above an amount, and was not")
    elif order not in facts.confirmed:
        broken.append("nobody confirmed it")
    return broken


def broken_by_asking(facts: Facts, at: datetime) -> Iterator[str]:
    """What customers could still confirm with their banks, though they should not any more."""
    for sent in facts.sent:
        if sent.asked_time is None or not sent.may_have_moved:
            continue
        consent = facts.consents.get(sent.consent)
        if sent.order in facts.withdrawn or (consent is not None and consent.stopped_by):
            yield "what is not wanted any more can still be confirmed"
        ends = facts.expire_times.get(sent.order, sent.asked_time + ASKED_FOR)
        if at >= min(ends, sent.asked_time + ASKED_FOR):
            yield "it can be confirmed for longer than the customer was told"


def _of_order(facts: Facts, sent: Sent, at: datetime) -> Iterator[str]:
    order = sent.order
    if len([other for other in facts.sent if other.order == order and other.may_have_moved]) > 1:
        yield "the order may have been paid already"
    if sent.whole_minor != facts.owed_minor[order]:
        yield "it is not what is owed"
    if order in facts.withdrawn:
        yield "the order was skipped or cancelled"
    if order in facts.expire_times and at >= facts.expire_times[order]:
        yield "the request to pay was over"


def _of_notice(
    last: Sequence[Announcement],
    lead: timedelta,
    sent: Sent,
    currency: str,
    at: datetime,
) -> Iterator[str]:
    if not last and sent.consent:
        yield "no notice was delivered"
    for said in last:
        if (said.currency, True) != (currency, sent.whole_minor <= said.amount_minor):
            yield "it is more than the notice said"
        if at < said.not_before_time:
            yield "it is earlier than the notice said"
        if sent.consent and said.asks:
            yield "the notice said that the customer would be asked"
        if sent.consent and at - said.deliver_time < lead:
            yield "the notice was delivered too late"


def _of_credit(facts: Facts) -> Iterator[str]:
    used_minor = sum(sent.credit_minor for sent in facts.sent if sent.may_have_moved)
    if used_minor > facts.credit_minor:
        yield "it uses more credit than the customer has"


def _of_consent(
    consents: Mapping[str, Consent], sent: Sent, currency: str, at: datetime
) -> Iterator[str]:
    if sent.consent not in consents:
        yield "there is no such consent"
        return
    consent = consents[sent.consent]
    if consent.stopped_by:
        yield f"the consent is {', '.join(sorted(consent.stopped_by))}"
    if at < consent.valid_from_time or (
        consent.valid_until_time is not None and at >= consent.valid_until_time
    ):
        yield "the consent is not valid then"
    if consent.currency != currency or sent.whole_minor > consent.charge_ceiling_minor:
        yield "it is more than was agreed to for one charge"


def _of_period(facts: Facts, sent: Sent, at: datetime) -> Iterator[str]:
    """A ceiling is held against the whole, whatever credit pays of it; others count by their money."""
    consent = facts.consents.get(sent.consent)
    if consent is None or consent.period_ceiling_minor is None:
        return
    zone = ZoneInfo(consent.time_zone)
    others = [
        ({time.astimezone(zone).date() for time in other.times}, other.amount_minor)
        for other in facts.sent
        if other is not sent and other.consent == sent.consent and other.may_have_moved
    ]
    for days in _periods(at.astimezone(zone).date(), consent.period_days):
        others_minor = sum(minor for dates, minor in others if any(map(days, dates)))
        if others_minor + sent.whole_minor > consent.period_ceiling_minor:
            yield "it is more than was agreed to for a period"
            return


def _periods(today: date, count: int | None) -> Iterator[Callable[[date], bool]]:
    """Whether days are in the month of today, or in each so many days that today is one of."""
    if count is None:
        yield lambda day: (day.year, day.month) == (today.year, today.month)
        return
    for first in (today - timedelta(days=before) for before in range(count)):
        yield partial(_is_within, first, first + timedelta(days=count))


def _is_within(first: date, following: date, day: date) -> bool:
    return first <= day < following
