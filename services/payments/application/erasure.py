"""Erasure: what is known of a customer, as far as it is not needed."""

from datetime import datetime

from services.payments.domain.consent import DISPUTE_PERIOD
from services.payments.domain.keys import CustomerKey
from services.payments.store import erasure as store
from services.runtime.db.idempotency import forget_answers
from services.runtime.db.pool import Connection
from services.runtime.errors import wrong_state
from services.runtime.mutations import Applied

NAMED_MAX_CHARGES = 3


async def erase(tx: Connection, customer: CustomerKey, now: datetime) -> Applied[datetime | None]:
    """Erase a customer; until when evidence of earlier charges is kept, if any is.

    Raises FAILED_PRECONDITION CUSTOMER_HAS_CHARGES.
    """
    # First the mandates: from here on no attempt begins.
    await store.revoke_mandates(tx, customer, now)
    open_charges = await store.open_charges(tx, customer, NAMED_MAX_CHARGES)
    if open_charges:
        names = ", ".join(key.name for key in open_charges)
        raise wrong_state(
            "CUSTOMER_HAS_CHARGES",
            f"not over, or with a refund that is not: {names}",
            charges=names,
        )
    await store.erase(tx, customer, disputable_since=now - DISPUTE_PERIOD)
    await forget_answers(tx, customer.merchant, await store.resources(tx, customer))
    last = await store.last_with_evidence(tx, customer)
    return Applied(None if last is None else last + DISPUTE_PERIOD)
