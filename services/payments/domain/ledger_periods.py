"""Periods that a merchant has closed: nothing is booked within them any more. Pure."""

from datetime import date, datetime
from typing import NamedTuple

from services.payments.domain.keys import MerchantId


class LedgerPeriod(NamedTuple):
    """The books of a merchant through a day, as they were closed."""

    merchant: MerchantId
    # The last day (UTC) of it.
    through_date: date
    close_time: datetime
    # SHA-256 of the trial balance at the end of that day, in hexadecimal digits.
    balance_digest: str
