"""Dunning: a merchant's policy, and what a declined charge is tried with next."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from services.payments.domain.attempts import Attempt
from services.payments.domain.consent import scheme_reasons
from services.payments.domain.dunning import DunningPolicy
from services.payments.domain.dunning_replay import Replay, replay
from services.payments.domain.keys import ChargeKey, CustomerKey, MandateKey, PaymentMethodId
from services.payments.domain.outcomes import Declined, Outcome
from services.payments.domain.payment_methods import PaymentMethod, PaymentMethodState
from services.payments.names import DUNNING_POLICY
from services.payments.store import attempts as attempt_store
from services.payments.store import dunning as store
from services.payments.store import mandates as mandate_store
from services.payments.store import payment_methods as payment_method_store
from services.runtime.db.pool import Connection
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

SIMULATED_PERIOD = timedelta(days=365)
# The newest; what a process replays in a fraction of a second.
SIMULATED_CHARGES_MAX = 10_000


async def change(
    tx: Connection, wanted: DunningPolicy, present_etag: str
) -> Applied[DunningPolicy]:
    """Change a merchant's policy as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await store.get(tx, wanted.merchant, lock=True)
    check_etag(present_etag, present.version, DUNNING_POLICY.format(wanted.merchant))
    return Applied(await store.change(tx, replace(wanted, version=present.version)), present)


async def fallbacks(
    tx: Connection, tried: Mapping[ChargeKey, tuple[Attempt, Outcome]], now: datetime
) -> dict[ChargeKey, PaymentMethodId]:
    """By declined charge, the customer's next payment method that was not tried for it, if any.

    Only under a mandate that names none: any other allows its own method alone.
    """
    declined = {
        key: MandateKey(*key[:2], attempt.mandate)
        for key, (attempt, outcome) in tried.items()
        if isinstance(outcome, Declined) and attempt.mandate
    }
    if not declined:
        return {}
    mandates = await mandate_store.by_key(tx, declined.values())
    open_to_all = {
        key
        for key, mandate in declined.items()
        if mandate in mandates and mandates[mandate].payment_method is None
    }
    if not open_to_all:
        return {}
    orders = await payment_method_store.in_order(tx, {CustomerKey(*key[:2]) for key in open_to_all})
    methods = await payment_method_store.by_key(tx, {m for order in orders.values() for m in order})
    attempts = await attempt_store.of_charges(tx, open_to_all)
    following = {}
    for key in open_to_all:
        declined_now, _ = tried[key]
        used = {attempt.payment_method for attempt in attempts[key]}
        for method in orders.get(CustomerKey(*key[:2]), ()):
            if method.payment_method not in used and _takes(methods[method], declined_now, now):
                following[key] = method.payment_method
                break
    return following


def _takes(method: PaymentMethod, declined: Attempt, now: datetime) -> bool:
    """Whether a payment method can be tried with what was declined."""
    is_active = method.state(now) is PaymentMethodState.ACTIVE
    return is_active and not scheme_reasons(method.brand, declined.amount_minor, declined.currency)


async def simulate(
    connection: Connection, policy: DunningPolicy, now: datetime
) -> tuple[datetime, Replay]:
    """Replay a policy over the merchant's declines of the last year; since when those are."""
    since_time = now - SIMULATED_PERIOD
    declined = await store.declined_charges(
        connection, policy.merchant, since_time, SIMULATED_CHARGES_MAX
    )
    if len(declined) == SIMULATED_CHARGES_MAX:
        since_time = declined[-1].first_time
    return since_time, replay(declined, policy)
