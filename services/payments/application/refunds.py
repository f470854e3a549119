"""Refunds: sent to the provider and settled."""

from collections.abc import Sequence
from datetime import datetime

from services.payments import publishers
from services.payments.clients.provider import Provider
from services.payments.domain.ledger import book_refund
from services.payments.domain.outcomes import Declined, Outcome, Succeeded, Unknown
from services.payments.domain.refunds import Refund, RefundState
from services.payments.store import charges as charge_store
from services.payments.store import ledger as ledger_store
from services.payments.store import refunds as refund_store
from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox


async def send(provider: Provider, refund: Refund) -> Outcome:
    """Send a refund; one that was sent before is looked for first, since keys are forgotten."""
    if refund.try_count:
        found = await provider.find_refund(refund)
        if found is not None:
            return found
        if refund.mismatch:
            return Unknown("the answer was false")
    return await provider.refund(refund)


async def settle(tx: Connection, outcomes: Sequence[tuple[Refund, Outcome]], now: datetime) -> None:
    """Write what the provider said. An outcome that is known already is not written again."""
    known = [(r, o) for r, o in outcomes if isinstance(o, Succeeded | Declined)]
    unknown = [(r, o) for r, o in outcomes if isinstance(o, Unknown)]
    await refund_store.postpone(tx, unknown, now)
    settled = await refund_store.settle(tx, known, now)
    refunded = [refund for refund in settled if refund.state is RefundState.SUCCEEDED]
    charges = await charge_store.by_key(tx, [refund.key.charge for refund in refunded])
    await ledger_store.book(tx, [book_refund(refund, now) for refund in refunded])
    await outbox.put(
        tx,
        [
            publishers.refund_succeeded(refund, charges[refund.key.charge], now)
            for refund in refunded
        ],
    )
