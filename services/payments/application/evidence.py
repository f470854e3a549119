"""What the guard compares charges with, locked so that it holds until the transaction ends."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain

from services.payments.domain.charges import Charge, method_key
from services.payments.domain.decisions import Evidence
from services.payments.domain.guard import binding_rules
from services.payments.domain.keys import MandateKey
from services.payments.domain.rules import lapsing_mandates
from services.payments.store import credit as credit_store
from services.payments.store import disputes as dispute_store
from services.payments.store import dunning as dunning_store
from services.payments.store import mandates as mandate_store
from services.payments.store import notices as notice_store
from services.payments.store import payment_methods as payment_method_store
from services.runtime.db.pool import Connection


async def read(tx: Connection, charges: Sequence[Charge], now: datetime) -> Evidence:
    """Notices, mandates and their periods so far, the uses of payment methods, and credits.

    Mandates, payment methods and credits are locked, in this order.
    """
    notices = await notice_store.latest(tx, [charge.key for charge in charges])
    keys = {charge.mandate_key for charge in charges if charge.mandate_key}
    mandates = await mandate_store.by_key(tx, keys, lock=True)
    for key in await dispute_store.stopped(tx, mandates):
        mandates[key] = replace(mandates[key], is_disputed=True)
    limited = [m for m in mandates.values() if m.period_ceiling_minor is not None]
    periods = [mandate_store.MandatePeriod(*m.key, *m.period(now)) for m in limited]
    totals_minor = await mandate_store.period_totals_minor(tx, periods)
    spent_minor = {MandateKey(*period[:3]): total for period, total in totals_minor.items()}
    evidence = Evidence(notices, mandates, spent_minor, {})
    unnamed = {m.customer_key for m in mandates.values() if m.payment_method is None}
    await payment_method_store.lock_of_customers(tx, unnamed)
    orders = await payment_method_store.in_order(tx, unnamed)
    named = {method_key(charge, evidence.mandate_of(charge)) for charge in charges}
    methods = {*filter(None, named), *chain.from_iterable(orders.values())}
    uses = await payment_method_store.uses(tx, methods, now)
    policies = await dunning_store.of_merchants(tx, [charge.merchant for charge in charges])
    known = replace(evidence, uses=uses, orders=orders, policies=policies)
    lapsing = {
        charge.mandate_key
        for charge in charges
        if charge.mandate_key and lapsing_mandates(binding_rules(charge, known.use_of(charge)))
    }
    # What is not sent yet, or not there, has used no mandate.
    others = (charge.key for charge in charges)
    last_charge_times = await mandate_store.last_charge_times(tx, lapsing, but_for=others)
    held = await credit_store.locked(tx, [charge.credit_key for charge in charges])
    credit_minor = {key: credit.available_minor for key, credit in held.items()}
    return replace(known, last_charge_times=last_charge_times, credit_minor=credit_minor)
