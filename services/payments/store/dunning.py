"""Merchants' policies on declines."""

from collections.abc import Iterable
from datetime import datetime

from services.payments.domain.dunning import DunningPolicy
from services.payments.domain.dunning_replay import DeclinedCharge
from services.payments.domain.keys import MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_OF_MERCHANTS = Query(
    """
    SELECT merchant, schedule, retry_days, retry_hour, weekdays, uses_fallbacks, awaits_new_method,
           ask_to_pay_days, reminder_hours, payment_page_uri, version
    FROM dunning_policies
    JOIN unnest(CAST(:merchants AS text[])) AS wanted (merchant) USING (merchant)
""",
    DunningPolicy,
)

_VERSIONS = Query(
    """
    SELECT merchant, schedule, retry_days, retry_hour, weekdays, uses_fallbacks, awaits_new_method,
           ask_to_pay_days, reminder_hours, payment_page_uri, version
    FROM dunning_policy_versions
    WHERE merchant = :merchant AND version = ANY(CAST(:versions AS integer[])) ORDER BY version
""",
    DunningPolicy,
)

# Attempts that are not decided, and those that were never made, say nothing. The newest first.
_DECLINED_CHARGES = Query(
    """
    SELECT charges.amount_minor, charges.currency, time_zone, first.decline_code, start_times, succeeded
    FROM (
        SELECT customer, merchant, charge, decline_code, start_time FROM attempts
        WHERE merchant = :merchant AND state = 'DECLINED' AND number = 1 AND start_time >= :since_time
        ORDER BY start_time DESC LIMIT :limit) AS first
    JOIN charges USING (customer, merchant, charge)
    CROSS JOIN LATERAL (
        SELECT array_agg(start_time ORDER BY number) AS start_times,
               array_agg(state = 'SUCCEEDED' ORDER BY number) AS succeeded
        FROM attempts
        WHERE attempts.customer = first.customer AND attempts.merchant = first.merchant
          AND attempts.charge = first.charge AND attempts.state || '' IN ('DECLINED', 'SUCCEEDED')
        OFFSET 0) AS tried
    WHERE billing_mode = 'AUTOMATIC'
    ORDER BY first.start_time DESC
""",
    DeclinedCharge,
)

_ENSURE = Command("""
    INSERT INTO dunning_policies (merchant, schedule, retry_days, retry_hour, weekdays,
                                  uses_fallbacks, awaits_new_method, ask_to_pay_days,
                                  reminder_hours, payment_page_uri, version)
    VALUES (:merchant, :schedule, :retry_days, :retry_hour, :weekdays, :uses_fallbacks,
            :awaits_new_method, :ask_to_pay_days, :reminder_hours, :payment_page_uri, :version)
    ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = Query(
    """
    SELECT merchant, schedule, retry_days, retry_hour, weekdays, uses_fallbacks, awaits_new_method,
           ask_to_pay_days, reminder_hours, payment_page_uri, version
    FROM dunning_policies WHERE merchant = :merchant FOR UPDATE
""",
    DunningPolicy,
)

# Both tables have the same columns in the same order.
_CHANGE = Query(
    """
    WITH changed AS (
        UPDATE dunning_policies
        SET schedule = :schedule, retry_days = :retry_days, retry_hour = :retry_hour,
            weekdays = :weekdays, uses_fallbacks = :uses_fallbacks,
            awaits_new_method = :awaits_new_method,
            ask_to_pay_days = :ask_to_pay_days, reminder_hours = :reminder_hours,
            payment_page_uri = :payment_page_uri, version = version + 1
        WHERE merchant = :merchant
        RETURNING *
    ), kept AS (
        INSERT INTO dunning_policy_versions SELECT * FROM changed
    )
    SELECT merchant, schedule, retry_days, retry_hour, weekdays, uses_fallbacks, awaits_new_method,
           ask_to_pay_days, reminder_hours, payment_page_uri, version
    FROM changed
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


async def versions(
    tx: Connection, merchant: MerchantId, wanted: Iterable[int]
) -> list[DunningPolicy]:
    """A merchant's policy as it was in some of its versions, in their order."""
    numbers = sorted(set(wanted))
    policies = await _VERSIONS.all(tx, merchant=merchant, versions=numbers)
    # What holds where nobody has set one is stored nowhere.
    return [DunningPolicy(merchant), *policies] if 0 in numbers else policies


async def change(tx: Connection, policy: DunningPolicy) -> DunningPolicy:
    """Store what a caller's change made of a policy that is locked."""
    return await _CHANGE.one(tx, **_columns(policy))


async def declined_charges(
    tx: Connection, merchant: MerchantId, since_time: datetime, limit: int
) -> list[DeclinedCharge]:
    """A merchant's automatic charges that were declined first since a time, the newest first."""
    return await _DECLINED_CHARGES.all(tx, merchant=merchant, since_time=since_time, limit=limit)


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
        "reminder_hours": list(policy.reminder_hours),
        "payment_page_uri": policy.payment_page_uri,
        "version": policy.version,
    }
