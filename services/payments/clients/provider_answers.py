"""What answers of providers say of attempts, refunds and disputes, read the same way of each.

An answer over another payment, amount or currency than was asked for is never taken: its outcome is
Unknown, and a person looks at it.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple, TypeVar

from services.payments.clients.provider_api import (
    Found,
    Shown,
    is_of_attempt,
    is_of_refund,
    metadata_of,
)
from services.payments.domain.attempts import Attempt
from services.payments.domain.disputes import DisputeReport, NotDisputed
from services.payments.domain.keys import ChargeKey
from services.payments.domain.outcomes import Declined, Outcome, Succeeded, Unknown
from services.payments.domain.refunds import Refund
from services.payments.names import CHARGE

REASON_MAX_CHARACTERS = 100

Report = TypeVar("Report", DisputeReport, DisputeReport | NotDisputed)


class RefundAsked(NamedTuple):
    """What a refund should be over, as the provider writes it, and of which payment it says it is."""

    payment: object
    amount: int
    currency: str


def mismatched(what: str) -> Unknown:
    """An answer that is not about what was asked for."""
    return Unknown("the answer differs from the request", mismatch=what)


def payment_mismatch(shown: Shown, attempt: Attempt, amount: int, currency: str) -> Unknown | None:
    """How a payment differs from its request, in the provider's amounts; None: it does not."""
    name = shown.get("id")
    if not isinstance(name, str):
        return Unknown("the answer is no payment")
    if not is_of_attempt(attempt, shown):
        return mismatched(f"{name} is another payment")
    return _amount_mismatch(name, shown, amount, currency)


def refund_outcome(
    shown: Shown, refund: Refund, asked: RefundAsked, paid: str, failed: Collection[str]
) -> Outcome:
    """What a refund, as it stands, says of ours; Unknown if it differs, or is under way.

    `paid` is the state of one that was given, `failed` are those of one that was not.
    """
    name, status = shown.get("id"), str(shown.get("status"))
    if not isinstance(name, str):
        return Unknown("the answer is no refund")
    if not is_of_refund(refund, shown):
        return mismatched(f"{name} is another refund")
    if asked.payment != refund.provider_payment:
        return mismatched(f"{name} gives {asked.payment} back")
    if mismatch := _amount_mismatch(name, shown, asked.amount, asked.currency):
        return mismatch
    if status in failed:
        code = str(shown.get("failure_reason") or status)
        return Declined(code, hard=True, provider_id=name)
    return Succeeded(name) if status == paid else Unknown(f"the refund is {status}")


def _amount_mismatch(name: str, shown: Shown, amount: int, currency: str) -> Unknown | None:
    if (shown.get("amount"), shown.get("currency")) == (amount, currency):
        return None
    return mismatched(f"{name} is over {shown.get('amount')} {shown.get('currency')}")


def outcome_of(found: Found, read: Callable[[Shown], Outcome]) -> Outcome | None:
    """What was looked for says of what it was looked for; None if there is none."""
    return found if found is None or isinstance(found, Unknown) else read(found)


def read_report(read: Callable[[], Report]) -> Report | Unknown:
    """A dispute of a provider's answer; Unknown if it is none that can be understood."""
    try:
        return read()
    except (KeyError, TypeError, ValueError) as error:
        return Unknown(f"the answer is no dispute: {type(error).__name__}")


def charge_of(shown: object) -> ChargeKey | None:
    """The charge that a payment says it was made for; None if it says none."""
    try:
        key: ChargeKey = CHARGE.key(str(metadata_of(shown).get("charge")))
    except ValueError:
        return None
    return key
