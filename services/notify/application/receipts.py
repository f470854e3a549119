"""Receipts: what gateways say of messages that they took, and what of notices that ends."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.notify.application import phone_outcomes
from services.notify.domain.notices import DeliveryKey, Progress
from services.notify.domain.receipts import Receipt, ReceiptEffect, is_about, receipt_progress
from services.notify.publishers import notice_ended
from services.notify.store import outcomes, receipts
from services.notify.store.outcomes import Ended
from services.notify.store.receipts import Sent
from services.runtime.db.pool import Connection
from services.runtime.messaging import outbox


async def apply(
    tx: Connection, said: Mapping[DeliveryKey, Receipt], now: datetime
) -> tuple[list[Ended], dict[DeliveryKey, ReceiptEffect]]:
    """Store what gateways say of deliveries; returns the notices that end by it, and what each came to.

    What a receipt says of a delivery that is over, or of another message, changes nothing.
    """
    await outcomes.lock(tx, {key.notice_key for key in said})
    known = [it for it in await receipts.sent(tx, said) if is_about(it.delivery, said[it.key])]
    changed = [
        (sent, progress)
        for sent in known
        if (progress := receipt_progress(sent.delivery, said[sent.key], now)) is not None
    ]
    effects = dict.fromkeys(said, ReceiptEffect.UNMATCHED)
    effects |= dict.fromkeys((sent.key for sent in known), ReceiptEffect.REPEATED)
    effects |= dict.fromkeys((sent.key for sent, _ in changed), ReceiptEffect.STORED)
    return await store(tx, changed, now), effects


async def store(
    tx: Connection, changed: Sequence[tuple[Sent, Progress]], now: datetime
) -> list[Ended]:
    """Store what has become of deliveries of locked notices; returns the notices that end by it."""
    await outcomes.save_receipts(
        tx,
        [progress for _, progress in changed],
        [sent.notice.key for sent, _ in changed],
        [sent.delivery.channel for sent, _ in changed],
    )
    await outcomes.fall_back(
        tx, [(sent.notice, sent.delivery, progress) for sent, progress in changed], now
    )
    ended = await outcomes.settle(tx, {sent.notice.key: sent.notice for sent, _ in changed})
    await phone_outcomes.store(tx, changed, now)
    await outbox.put(
        tx,
        [
            event
            for notice in ended
            for event in notice_ended(
                notice.notice, notice.outcome, notice.deliver_time, notice.failure_code, now
            )
        ],
    )
    return ended
