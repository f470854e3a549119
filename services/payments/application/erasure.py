"""Erasure: what is known of a customer, as far as it is not needed."""

from datetime import datetime
from typing import NamedTuple

from services.payments.domain.buyers import first_kept_year, retention_end
from services.payments.domain.consent import DISPUTE_PERIOD
from services.payments.domain.keys import CustomerKey
from services.payments.store import erasure as store
from services.runtime.db.idempotency import forget_answers
from services.runtime.db.pool import Connection
from services.runtime.errors import wrong_state
from services.runtime.mutations import Applied

NAMED_MAX_CHARGES = 3


class Kept(NamedTuple):
    """Until when some of it is kept; None: nothing is."""

    evidence_until: datetime | None
    documents_until: datetime | None


async def erase(tx: Connection, customer: CustomerKey, now: datetime) -> Applied[Kept]:
    """Erase a customer; until when evidence of earlier charges and buyers on documents are kept.

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
    await store.erase_buyer(tx, customer, first_kept_year(now))
    await forget_answers(tx, customer.merchant, await store.resources(tx, customer))
    last = await store.last_with_evidence(tx, customer)
    year = await store.last_document_year(tx, customer)
    return Applied(
        Kept(
            None if last is None else last + DISPUTE_PERIOD,
            None if year is None else retention_end(year),
        )
    )
