"""Merchants' policies on declines."""

from collections.abc import Iterable

from services.payments.domain.dunning import DunningPolicy
from services.payments.domain.keys import MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_OF_MERCHANTS = Query(
    """
    SELECT merchant, schedule, retry_days, retry_hour, weekdays, uses_fallbacks, awaits_new_method,
           ask_to_pay_days, version
    FROM dunning_policies
    JOIN unnest(CAST(:merchants AS text[])) AS wanted (merchant) USING (merchant)
""",
    DunningPolicy,
)

_ENSURE = Command("""
    INSERT INTO dunning_policies (merchant, schedule, retry_days, retry_hour, weekdays,
                                  uses_fallbacks, awaits_new_method, ask_to_pay_days, version)
    VALUES (:merchant, :schedule, :retry_days, :retry_hour, :weekdays, :uses_fallbacks,
            :awaits_new_method, :ask_to_pay_days, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = Query(
    """
    SELECT merchant, schedule, retry_days, retry_hour, weekdays, uses_fallbacks, awaits_new_method,
           ask_to_pay_days, version
    FROM dunning_policies WHERE merchant = :merchant FOR UPDATE
""",
    DunningPolicy,
)

_CHANGE = Query(
    """
    UPDATE dunning_policies
    SET schedule = :schedule, retry_days = :retry_days, retry_hour = :retry_hour,
        weekdays = :weekdays, uses_fallbacks = :uses_fallbacks,
        awaits_new_method = :awaits_new_method,
        ask_to_pay_days = :ask_to_pay_days, version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, schedule, retry_days, retry_hour, weekdays, uses_fallbacks,
              awaits_new_method, ask_to_pay_days, version
""",
    DunningPolicy,
)


async def of_merchants(
    tx: Connection, merchants: Iterable[MerchantId]
) -> dict[MerchantId, DunningPolicy]:
    """The policies of those merchants that have set one."""
    policies = await _OF_MERCHANTS.all(tx, merchants=sorted(set(merchants)))
    return {policy.merchant: policy for policy in policies}


async def get(tx: Connection, merchant: MerchantId, *, lock: bool = False) -> DunningPolicy:
    """A merchant's policy, or the one that holds where none was set; locked if asked for."""
    standard = DunningPolicy(merchant)
    if not lock:
        return (await of_merchants(tx, [merchant])).get(merchant, standard)
    # There must be a row to lock.
    await _ENSURE.run(tx, **_columns(standard))
    return await _GET_LOCKED.one(tx, merchant=merchant)


async def change(tx: Connection, policy: DunningPolicy) -> DunningPolicy:
    """Store what a caller's change made of a policy that is locked."""
    return await _CHANGE.one(tx, **_columns(policy))


def _columns(policy: DunningPolicy) -> dict[str, object]:
    return {
        "merchant": policy.merchant,
        "schedule": policy.schedule,
        "retry_days": list(policy.retry_days),
        "retry_hour": policy.retry_hour,
        "weekdays": list(policy.weekdays),
        "uses_fallbacks": policy.uses_fallbacks,
        "awaits_new_method": policy.awaits_new_method,
        "ask_to_pay_days": policy.ask_to_pay_days,
        "version": policy.version,
    }
