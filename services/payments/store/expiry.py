"""Payment methods that are about to expire."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from services.payments.domain.consent import Notice
from services.payments.domain.expiry import Checked, ExpiringMethod
from services.payments.domain.keys import PaymentMethodKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_DUE = Query(
    """
    SELECT merchant, customer, payment_method, provider_token, brand, last4, create_time,
           block_time, decline_code, kind, expire_time, provider_customer, is_default,
           fallback_order, detach_time, provider, expiry_check_time,
           EXISTS (
               SELECT FROM mandates
               WHERE mandates.customer = payment_methods.customer
                 AND mandates.merchant = payment_methods.merchant
                 AND revoke_time IS NULL AND lapse_time IS NULL
                 AND (valid_until_time IS NULL OR valid_until_time > :now)
                 AND CASE WHEN mandates.payment_method IS NULL THEN is_default OR fallback_order > 0
                          ELSE mandates.payment_method = payment_methods.payment_method END
           ) AS in_use,
           EXISTS (
               SELECT FROM notices
               WHERE notices.customer = payment_methods.customer
                 AND notices.merchant = payment_methods.merchant
                 AND charge_not_before_time >= payment_methods.expire_time
                 AND charge_not_before_time > :now
           ) AS is_announced_beyond
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT customer, merchant, payment_method FROM payment_methods
            WHERE expiry_check_time IS NOT NULL AND provider = :provider AND bucket = leased.bucket
              AND expiry_check_time <= :now
              AND merchant || '/' || customer || '/' || payment_method
                  <> ALL(CAST(:left_out AS text[]))
            ORDER BY expiry_check_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN payment_methods USING (customer, merchant, payment_method)
""",
    ExpiringMethod,
)

# By their keys: what is distinct from another is looked for in no index of times.
_SAVE = Query(
    """
    UPDATE payment_methods SET brand = new.brand, last4 = new.last4, expire_time = new.expire_time,
                               expiry_check_time = new.next_check_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:payment_method AS text[]), CAST(:brand AS text[]), CAST(:last4 AS text[]),
                CAST(:expire_time AS timestamptz[]), CAST(:expiry_check_time AS timestamptz[]),
                CAST(:next_check_time AS timestamptz[]))
      AS new (customer, merchant, payment_method, brand, last4, expire_time, expiry_check_time,
              next_check_time)
    WHERE payment_methods.customer = new.customer AND payment_methods.merchant = new.merchant
      AND payment_methods.payment_method = new.payment_method
      AND payment_methods.expiry_check_time IS NOT DISTINCT FROM new.expiry_check_time
      AND payment_methods.provider_token <> ''
    RETURNING payment_methods.merchant, payment_methods.customer, payment_methods.payment_method
""",
    PaymentMethodKey,
)

# After its notice a method is looked at when it expires, and not before.
_BRING_FORWARD = Command("""
    UPDATE payment_methods SET expiry_check_time = :now
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:charge_not_before_time AS timestamptz[]))
      AS announced (customer, merchant, charge_not_before_time)
    WHERE payment_methods.customer = announced.customer
      AND payment_methods.merchant = announced.merchant
      AND payment_methods.expire_time <= announced.charge_not_before_time
      AND payment_methods.expiry_check_time > :now
      AND payment_methods.expiry_check_time < payment_methods.expire_time
""")


async def due(
    tx: Connection,
    provider: str,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[PaymentMethodKey],
) -> list[ExpiringMethod]:
    """A batch of a provider's payment methods that are to be looked at now, but for some."""
    keys = ["/".join(key) for key in left_out]
    return await _DUE.all(
        tx, provider=provider, buckets=buckets, now=now, limit=limit, left_out=keys
    )


async def save(tx: Connection, looks: Sequence[Checked]) -> set[PaymentMethodKey]:
    """Write what looks at payment methods came to; returns those that nobody else has looked at."""
    methods = [look.method for look in looks]
    times = [look.next_check_time for look in looks]
    return set(await _SAVE.all_for(tx, methods, next_check_time=times))


async def bring_forward(tx: Connection, notices: Iterable[Notice], now: datetime) -> None:
    """Have methods looked at now that will have expired when an announced charge is made."""
    await _BRING_FORWARD.run_for(tx, list(notices), now=now)
