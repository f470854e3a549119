"""Amendments of mandates: what widens one needs a new consent. Pure functions."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.consent import Mandate
from services.payments.domain.keys import CustomerId, MandateId, MerchantId


class Terms(NamedTuple):
    """What of a mandate can be amended."""

    charge_ceiling_minor: int
    period_ceiling_minor: int | None
    period_days: int | None
    time_zone: str
    valid_until_time: datetime | None
    standing_orders: tuple[str, ...]
    lead_seconds: int


@dataclass(frozen=True, slots=True)
class Amendment:
    """A change of a mandate's terms."""

    merchant: MerchantId
    customer: CustomerId
    mandate: MandateId
    # The mandate's version since which the new terms hold.
    version: int
    amend_time: datetime
    # How the customer consented, encrypted. Empty where it was narrowed, and once it is erased.
    evidence: bytes
    # The terms that held until then.
    charge_ceiling_minor: int
    period_ceiling_minor: int | None
    period_days: int | None
    time_zone: str
    valid_until_time: datetime | None
    standing_orders: tuple[str, ...]
    lead_seconds: int


def terms_of(holder: Mandate | Amendment) -> Terms:
    """The terms of a mandate, or those that held before an amendment."""
    return Terms(*(getattr(holder, field) for field in Terms._fields))


def widened_fields(before: Terms, after: Terms) -> list[str]:
    """By what terms allow more than those before, as the contract names it."""
    widened = {
        "charge_ceiling": after.charge_ceiling_minor > before.charge_ceiling_minor,
        "period_ceiling": _has_wider_period(before, after),
        "valid_until_time": _ends_later(before.valid_until_time, after.valid_until_time),
        "standing_orders": _covers_more(before.standing_orders, after.standing_orders),
        "lead": after.lead_seconds < before.lead_seconds,
    }
    return [field for field, is_wider in widened.items() if is_wider]


def _has_wider_period(before: Terms, after: Terms) -> bool:
    if before.period_ceiling_minor is None:
        return False
    if after.period_ceiling_minor is None or before.time_zone != after.time_zone:
        return True
    # Whatever fits into more days in a row fits into fewer.
    days = before.period_days, after.period_days
    same_or_longer = days[0] == days[1] or (None not in days and (days[0] or 0) < (days[1] or 0))
    return not same_or_longer or after.period_ceiling_minor > before.period_ceiling_minor


def _ends_later(before: datetime | None, after: datetime | None) -> bool:
    return before is not None and (after is None or after > before)


def _covers_more(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    return bool(before) and (not after or not set(after) <= set(before))
