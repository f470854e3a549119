"""When a phone that was proved takes the place of the one that is bound. Pure.

Whoever has a customer's account for a moment must not get the messages about their money: the phone
that is bound agrees with a code of its own, or it is notified and has time to object.
"""

from datetime import datetime, timedelta

from services.notify.domain.notices import Contact

PHONE_CHANGE_WAIT = timedelta(hours=72)
# Carriers give numbers to others some weeks after they were given up. A message a year is enough.
PHONE_PROOF_DAYS = 400
# What arrives puts the end of the proof off, at most so often: a row is not written for each message.
PROOF_RENEWAL = timedelta(days=10)
# What gateways say of numbers that nobody has: our own, and Twilio's (twilio.com/docs/api/errors).
NUMBER_UNASSIGNED_CODES = frozenset({
    "number_unassigned", "unknown_subscriber", "invalid_number", "21211", "30005",
})  # fmt: skip


def bind_time_of(
    contact: Contact, phone: str, now: datetime, wait: timedelta, *, is_released: bool
) -> datetime:
    """When a phone that is proved now becomes the bound one; `now`: at once.

    `is_released`: the phone that is bound has agreed.
    """
    if is_released or phone == contact.phone:
        return now
    if contact.phone and not contact.proved_phone:
        # Whoever has that number now has no say.
        return now
    if phone == contact.pending_phone and contact.pending_bind_time is not None:
        # To prove it again does not put it off.
        return contact.pending_bind_time
    if contact.proved_phone:
        return now + wait
    return max(now, contact.phone_hold_until_time or now)
