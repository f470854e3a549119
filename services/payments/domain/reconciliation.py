"""What the books and the provider's list do not agree on, and the entry that mends it. Pure."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.payments.domain.accounts import PROVIDER_CLEARING, SUSPENSE
from services.payments.domain.keys import CustomerId, FindingName, MerchantId
from services.payments.domain.transfers import Transfer

# The kind of an entry that mends begins so, and goes on with the movement that it is about. What is
# booked of a movement is itself and all of these.
MENDING = "RECONCILIATION"


class FindingKind(StrEnum):
    """How they differ."""

    MISSING_HERE = "MISSING_HERE"
    MISSING_AT_PROVIDER = "MISSING_AT_PROVIDER"
    DIFFERENT_AMOUNT = "DIFFERENT_AMOUNT"
    DIFFERENT_STATE = "DIFFERENT_STATE"
    DUPLICATE = "DUPLICATE"


class Finding(NamedTuple):
    """A movement of a charge's or refund's money that both sides do not have in the same way."""

    merchant: MerchantId
    customer: CustomerId
    kind: FindingKind
    # The resource name of the charge or refund.
    source: str
    # Which movement of it: CHARGE, REFUND or REFUND_FAILURE.
    type: str
    # What came to the provider's balance, by the books and by the provider; negative: what left it.
    booked_minor: int
    currency: str
    provider_minor: int
    provider_currency: str


class RecordedFinding(NamedTuple):
    """A finding of a finished day."""

    merchant: MerchantId
    customer: CustomerId
    kind: FindingKind
    source: str
    type: str
    booked_minor: int
    currency: str
    provider_minor: int
    provider_currency: str
    finding: str
    # The day (UTC) that was compared.
    compare_date: date
    find_time: datetime
    resolve_time: datetime | None
    # When its entry was booked.
    apply_time: datetime | None
    # Whose list the books were compared with.
    provider: str

    @property
    def key(self) -> FindingName:
        """What callers name it by."""
        return FindingName(self.merchant, self.finding)

    @property
    def found(self) -> Finding:
        """What differs."""
        return Finding(*self[:9])


class Reconciliation(NamedTuple):
    """What came of the comparison of a day."""

    # Whether the provider's list of the day was read to its end.
    complete: bool
    matched_count: int
    findings: list[Finding]


def mending(found: Finding, number: str, now: datetime, account: str = SUSPENSE) -> Transfer | None:
    """The entry by which the books have what the provider has; the rest of it is on the account.

    None where they are not wrong, but late, or where the currencies differ.
    """
    difference_minor = found.provider_minor - found.booked_minor
    if found.kind is FindingKind.DIFFERENT_STATE or found.currency != found.provider_currency:
        return None
    came = difference_minor > 0
    return Transfer(
        found.merchant,
        found.customer,
        found.source,
        f"{MENDING} {found.type} {number}",
        PROVIDER_CLEARING if came else account,
        account if came else PROVIDER_CLEARING,
        abs(difference_minor),
        found.currency,
        now,
    )


def day_of(day: date) -> tuple[datetime, datetime]:
    """The instants (UTC) at which a day begins and ends."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begin, begin + timedelta(days=1)
