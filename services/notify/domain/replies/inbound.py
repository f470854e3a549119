"""Messages of customers: who wrote, what was made of it, and how often it is tried. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from services.notify.domain.notices import MerchantId

TEXT_CHARACTERS_MAX = 1600
# Pauses before what a reply asks for is tried again; the last one repeats.
ACT_PAUSES = (
    timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=5),
    timedelta(minutes=15),
)  # fmt: skip
# Then the customer is answered that it could not be done.
ACT_LIFETIME = timedelta(hours=24)
# Whoever writes more often is a machine that answers machines: it is obeyed, and not answered.
ANSWERS_PER_HOUR_MAX = 10
# Who is not understood is sent the words once in so long.
HELP_PAUSE = timedelta(hours=24)
# For so long a message that comes again is known.
INBOUND_RETENTION = timedelta(days=90)

# Why a message has no answer.
OUTCOME_NOT_UNDERSTOOD = "NOT_UNDERSTOOD"
OUTCOME_NO_CUSTOMER = "NO_CUSTOMER"
OUTCOME_NO_CHANGE = "NO_CHANGE"
OUTCOME_UNREADABLE = "UNREADABLE"
OUTCOME_ERASED = "ERASED"
# The words were sent to who was not understood.
OUTCOME_HELPED = "HELPED"
# With a country, or the short code of one.
_NUMBER = re.compile(r"\+?[0-9 ]+")


class InboundKey(NamedTuple):
    """Which message, as what brought it calls it."""

    gateway: str
    gateway_message: str


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message as it came. Its number and its text are not to be logged."""

    key: InboundKey
    phone: str
    # Ours, that it was sent to.
    recipient: str
    text: str


@dataclass(frozen=True, slots=True)
class SenderNumbers:
    """The numbers from which merchants' messages come, and to which their customers write."""

    of_merchants: Mapping[MerchantId, str] = field(default_factory=dict)
    # That of all others, or the name that phones show.
    shared: str = ""
    # Whether the gateway brings what customers write.
    are_read: bool = False

    def number_of(self, merchant: MerchantId) -> str:
        """The number that a merchant's messages come from; empty: that of all others."""
        return self.of_merchants.get(merchant, "")

    def takes_replies(self, merchant: MerchantId) -> bool:
        """Whether customers can reply to a merchant's messages: to a number, and not to a name."""
        sender = self.of_merchants.get(merchant, self.shared)
        return self.are_read and _NUMBER.fullmatch(sender) is not None


ONE_SENDER_NUMBER = SenderNumbers()


def next_try(attempt_count: int, now: datetime) -> datetime:
    """When what a reply asks for is tried again, after so many attempts."""
    return now + ACT_PAUSES[min(attempt_count, len(ACT_PAUSES)) - 1]


def is_given_up(receive_time: datetime, now: datetime) -> bool:
    """Whether what a reply asks for has been tried for long enough."""
    return now - receive_time >= ACT_LIFETIME
