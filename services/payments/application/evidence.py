"""What the guard compares charges with, locked so that it holds until the transaction ends."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.payments.domain.charges import Charge, method_key
from services.payments.domain.consent import Mandate, Notice, month_of
from services.payments.domain.declines import MethodUse
from services.payments.domain.keys import ChargeKey, MandateKey, PaymentMethodKey
from services.payments.store import mandates as mandate_store
from services.payments.store import notices as notice_store
from services.payments.store import payment_methods as payment_method_store
from services.runtime.db.pool import Connection


async def read(
    tx: Connection, charges: Sequence[Charge], now: datetime
) -> tuple[dict[ChargeKey, Notice], dict[MandateKey, Mandate], dict[MandateKey, int]]:
    """What the guard compares charges with: notices, mandates (locked), and their months so far."""
    notices = await notice_store.latest(tx, [charge.key for charge in charges])
    wanted = {charge.mandate_key for charge in charges if charge.mandate_key}
    mandates = await mandate_store.by_key(tx, wanted, lock=True)
    limited = [key for key, mandate in mandates.items() if mandate.month_ceiling_minor is not None]
    totals_minor = await mandate_store.month_totals_minor(tx, limited, month_of(now))
    return notices, mandates, totals_minor


async def method_uses(
    tx: Connection,
    charges: Sequence[Charge],
    mandates: Mapping[MandateKey, Mandate],
    now: datetime,
) -> dict[PaymentMethodKey, MethodUse]:
    """What the payment methods of charges are used for; they stay locked."""
    wanted = {key for charge in charges if (key := method_key(charge, mandates)) is not None}
    return await payment_method_store.uses(tx, wanted, now)
