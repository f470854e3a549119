"""Charges."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from services.payments.domain.charges import Charge, is_expired
from services.payments.domain.keys import ChargeKey, CustomerKey, MerchantId, PaymentMethodKey
from services.payments.domain.transitions import ChargeState
from services.payments.store.instructions import instructed
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_INSERT = Query(
    """
    INSERT INTO charges (merchant, customer, charge, order_name, due_time, billing_mode, amount_minor,
                         currency, mandate, title, time_zone, traceparent, state,
                         next_attempt_time, expire_time, charge_rules, lines, region_code,
                         next_reminder_time, late_payment_days, period_start_date,
                         period_end_date, create_time, update_time, provider)
    SELECT new.*, coalesce(expected.provider, '') FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:order_name AS text[]), CAST(:due_time AS timestamptz[]), CAST(:billing_mode AS text[]),
        CAST(:amount_minor AS bigint[]),
        CAST(:currency AS text[]), CAST(:mandate AS text[]), CAST(:title AS text[]),
        CAST(:time_zone AS text[]), CAST(:traceparent AS text[]), CAST(:state AS text[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:expire_time AS timestamptz[]),
        CAST(:charge_rules AS jsonb[]), CAST(:lines AS jsonb[]), CAST(:region_code AS text[]),
        CAST(:next_reminder_time AS timestamptz[]), CAST(:late_payment_days AS integer[]),
        CAST(:period_start_date AS date[]), CAST(:period_end_date AS date[]),
        CAST(:create_time AS timestamptz[]),
        CAST(:update_time AS timestamptz[]))
      AS new (merchant, customer, charge, order_name, due_time, billing_mode, amount_minor, currency,
              mandate, title, time_zone, traceparent, state, next_attempt_time, expire_time,
              charge_rules, lines, region_code, next_reminder_time, late_payment_days,
              period_start_date, period_end_date, create_time, update_time)
    LEFT JOIN LATERAL (
        SELECT provider FROM mandates JOIN payment_methods USING (customer, merchant)
        WHERE mandates.customer = new.customer AND mandates.merchant = new.merchant
          AND mandates.mandate = split_part(new.mandate, '/', 6)
          AND CASE WHEN mandates.payment_method IS NULL THEN is_default
                   ELSE mandates.payment_method = payment_methods.payment_method END
        LIMIT 1) AS expected ON true
    ON CONFLICT (customer, merchant, charge) DO NOTHING
    RETURNING merchant, customer, charge
""",
    ChargeKey,
)

_SAVE = Command("""
    UPDATE charges SET
        state = new.state, payment_method = new.payment_method, attempt_count = new.attempt_count,
        not_made_count = new.not_made_count, mandate = new.mandate,
        billing_mode = new.billing_mode, expire_time = new.expire_time,
        next_reminder_time = new.next_reminder_time, overdue_time = new.overdue_time,
        awaited_method = new.awaited_method,
        next_attempt_time = new.next_attempt_time,
        notice_wait_until_time = new.notice_wait_until_time, notice = new.notice,
        refusal_reasons = string_to_array(new.refusal_reasons, ','),
        abandon_reason = new.abandon_reason, decline_code = new.decline_code,
        applied_rules = new.applied_rules, retry_count = new.retry_count,
        fallback_method = new.fallback_method, credit_minor = new.credit_minor,
        update_time = new.update_time
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:state AS text[]), CAST(:payment_method AS text[]), CAST(:attempt_count AS integer[]),
        CAST(:next_attempt_time AS timestamptz[]), CAST(:notice_wait_until_time AS timestamptz[]),
        CAST(:notice AS text[]), CAST(:refusal_reasons AS text[]), CAST(:abandon_reason AS text[]),
        CAST(:decline_code AS text[]), CAST(:update_time AS timestamptz[]),
        CAST(:not_made_count AS integer[]), CAST(:mandate AS text[]),
        CAST(:awaited_method AS text[]), CAST(:applied_rules AS jsonb[]),
        CAST(:retry_count AS integer[]), CAST(:fallback_method AS text[]),
        CAST(:credit_minor AS bigint[]),
        CAST(:billing_mode AS text[]), CAST(:expire_time AS timestamptz[]),
        CAST(:next_reminder_time AS timestamptz[]), CAST(:overdue_time AS timestamptz[]))
      AS new (merchant, customer, charge, state, payment_method, attempt_count, next_attempt_time,
              notice_wait_until_time, notice, refusal_reasons, abandon_reason, decline_code,
              update_time, not_made_count, mandate, awaited_method, applied_rules, retry_count,
              fallback_method, credit_minor, billing_mode, expire_time,
              next_reminder_time, overdue_time)
    WHERE charges.customer = new.customer AND charges.merchant = new.merchant
      AND charges.charge = new.charge
""")

_BY_KEY = Query(
    """
    SELECT merchant, customer, charge, order_name, due_time, billing_mode, amount_minor, currency,
           mandate, title, time_zone, traceparent, state, create_time, update_time, payment_method,
           attempt_count, not_made_count, next_attempt_time, expire_time, notice_wait_until_time,
           awaited_method, notice, refusal_reasons, abandon_reason, decline_code,
           charge_rules::text, applied_rules::text, retry_count, fallback_method, lines::text,
           region_code, credit_minor, next_reminder_time, late_payment_days, overdue_time,
           period_start_date, period_end_date
    FROM charges
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
""",
    Charge,
)

_MOVE = Command("""
    UPDATE charges SET provider = moved.provider
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:provider AS text[])) AS moved (customer, merchant, charge, provider)
    WHERE charges.customer = moved.customer AND charges.merchant = moved.merchant
      AND charges.charge = moved.charge
""")

# Rows are locked in the order of their key, so that two batches never wait for each other. State is
# no condition here: a row whose state changes while the lock is waited for would be overlooked.
_LOCKED = Query(
    """
    SELECT merchant, customer, charge, order_name, due_time, billing_mode, amount_minor, currency,
           mandate, title, time_zone, traceparent, state, create_time, update_time, payment_method,
           attempt_count, not_made_count, next_attempt_time, expire_time, notice_wait_until_time,
           awaited_method, notice, refusal_reasons, abandon_reason, decline_code,
           charge_rules::text, applied_rules::text, retry_count, fallback_method, lines::text,
           region_code, credit_minor, next_reminder_time, late_payment_days, overdue_time,
           period_start_date, period_end_date
    FROM charges
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY merchant, customer, charge FOR UPDATE OF charges
""",
    Charge,
)

_DUE = Query(
    """
    SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT merchant, customer, charge FROM charges
        WHERE provider = :provider AND bucket = leased.bucket AND next_attempt_time <= :now
          AND merchant || '/' || customer || '/' || charge <> ALL(CAST(:left_out AS text[]))
        ORDER BY next_attempt_time LIMIT :limit) AS due
    LIMIT :limit
""",
    ChargeKey,
)

_EXPIRED = Query(
    """
    SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT merchant, customer, charge FROM charges
        WHERE bucket = leased.bucket AND request_expire_time <= :now
          AND merchant || '/' || customer || '/' || charge <> ALL(CAST(:left_out AS text[]))
        ORDER BY request_expire_time LIMIT :limit) AS due
    LIMIT :limit
""",
    ChargeKey,
)

_TO_REMIND = Query(
    """
    SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
    CROSS JOIN LATERAL (
        SELECT merchant, customer, charge FROM charges
        WHERE bucket = leased.bucket AND next_reminder_time <= :now
          AND merchant || '/' || customer || '/' || charge <> ALL(CAST(:left_out AS text[]))
        ORDER BY next_reminder_time LIMIT :limit) AS due
    LIMIT :limit
""",
    ChargeKey,
)

_OF_CUSTOMER = Query(
    """
    SELECT merchant, customer, charge, order_name, due_time, billing_mode, amount_minor, currency,
           mandate, title, time_zone, traceparent, state, create_time, update_time, payment_method,
           attempt_count, not_made_count, next_attempt_time, expire_time, notice_wait_until_time,
           awaited_method, notice, refusal_reasons, abandon_reason, decline_code,
           charge_rules::text, applied_rules::text, retry_count, fallback_method, lines::text,
           region_code, credit_minor, next_reminder_time, late_payment_days, overdue_time,
           period_start_date, period_end_date
    FROM charges
    WHERE customer = :customer AND merchant = :merchant AND charge > :after
      AND (CAST(:state AS text) = '' OR state = :state)
    ORDER BY charge LIMIT :limit
""",
    Charge,
)

_OF_MERCHANT = Query(
    """
    SELECT merchant, customer, charge, order_name, due_time, billing_mode, amount_minor, currency,
           mandate, title, time_zone, traceparent, state, create_time, update_time, payment_method,
           attempt_count, not_made_count, next_attempt_time, expire_time, notice_wait_until_time,
           awaited_method, notice, refusal_reasons, abandon_reason, decline_code,
           charge_rules::text, applied_rules::text, retry_count, fallback_method, lines::text,
           region_code, credit_minor, next_reminder_time, late_payment_days, overdue_time,
           period_start_date, period_end_date
    FROM charges
    WHERE merchant = :merchant AND (charge, customer) > (:after, :after_customer)
      AND (CAST(:state AS text) = '' OR state = :state)
    ORDER BY charge, customer LIMIT :limit
""",
    Charge,
)

# By its key: `state || ''` keeps the planner from the index of a state, and from all that is in it.
_WAKE = Command("""
    UPDATE charges SET next_attempt_time = :now
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge)
    WHERE charges.customer = wanted.customer AND charges.merchant = wanted.merchant
      AND charges.charge = wanted.charge
      AND state || '' = 'SCHEDULED' AND notice_wait_until_time IS NOT NULL
""")

# One charge a method, the oldest: others wait for that one. What is locked is being decided anyway.
# Materialized, since the planner may else look for the oldest once a waiting charge, each time for one
# that this statement has not changed yet, and so wakes all of them. The state is hidden from it: it may
# else read all charges that are due for each method, as long as it knows of none.
_WAKE_AWAITING = Command("""
    WITH next AS MATERIALIZED (
        SELECT customer, merchant, charge
        FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                    CAST(:payment_method AS text[])) AS idle (customer, merchant, payment_method)
        CROSS JOIN LATERAL (
            SELECT charge FROM charges
            WHERE charges.customer = idle.customer AND charges.merchant = idle.merchant
              AND charges.awaited_method = idle.payment_method AND charges.awaited_method <> ''
              AND charges.state || '' = 'SCHEDULED'
            ORDER BY charges.create_time, charges.charge LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS oldest
    )
    UPDATE charges SET next_attempt_time = :now
    FROM next
    WHERE charges.customer = next.customer AND charges.merchant = next.merchant
      AND charges.charge = next.charge
""")


async def insert(tx: Connection, charges: Collection[Charge]) -> set[ChargeKey]:
    """Add charges; returns which were new."""
    return set(await _INSERT.all_for(tx, charges))


async def save(tx: Connection, charges: Sequence[Charge]) -> None:
    """Write what has changed of charges whose rows this transaction has locked."""
    # Arrays of arrays must be even.
    reasons = [",".join(charge.refusal_reasons) for charge in charges]
    await _SAVE.run_for(tx, charges, refusal_reasons=reasons)


async def by_key(tx: Connection, keys: Iterable[ChargeKey]) -> dict[ChargeKey, Charge]:
    """Those of the charges that exist."""
    return {charge.key: charge for charge in await _BY_KEY.all_for(tx, set(keys))}


async def locked(tx: Connection, keys: Iterable[ChargeKey]) -> dict[ChargeKey, Charge]:
    """Those of the charges that exist, locked until the transaction ends."""
    charges = await instructed(tx, await _LOCKED.all_for(tx, set(keys)))
    return {charge.key: charge for charge in charges}


async def move(tx: Connection, providers: Mapping[ChargeKey, str]) -> None:
    """Put charges whose rows this transaction has locked into the queues of other providers."""
    await _MOVE.run_for(tx, providers, provider=list(providers.values()))


async def due(
    tx: Connection,
    provider: str,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[ChargeKey],
) -> list[ChargeKey]:
    """A batch of SCHEDULED charges of a provider's queue whose time has come, but for some."""
    return await _DUE.all(
        tx, provider=provider, buckets=buckets, now=now, limit=limit, left_out=_names(left_out)
    )


async def take_due(tx: Connection, keys: Sequence[ChargeKey], now: datetime) -> list[Charge]:
    """Those of some charges that are due, locked, in the same order."""
    charges = await locked(tx, keys)
    # Somebody may have changed one before it was locked.
    return [
        charge
        for charge in map(charges.__getitem__, keys)
        if charge.state is ChargeState.SCHEDULED
        and charge.next_attempt_time is not None
        and charge.next_attempt_time <= now
    ]


async def expired(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[ChargeKey],
) -> list[ChargeKey]:
    """A batch of requests that nobody confirmed in time, but for some."""
    return await _EXPIRED.all(tx, buckets=buckets, now=now, limit=limit, left_out=_names(left_out))


async def take_expired(tx: Connection, keys: Sequence[ChargeKey], now: datetime) -> list[Charge]:
    """Those of some requests that nobody confirmed in time, locked like the due ones."""
    charges = await locked(tx, keys)
    # Whoever ended one before it was locked may have asked for it again, until later.
    return [
        charge
        for charge in charges.values()
        if charge.state is ChargeState.REQUESTED and is_expired(charge, now)
    ]


async def to_remind(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[ChargeKey],
) -> list[ChargeKey]:
    """A batch of requests whose customers are to be reminded, but for some."""
    return await _TO_REMIND.all(
        tx, buckets=buckets, now=now, limit=limit, left_out=_names(left_out)
    )


async def take_to_remind(tx: Connection, keys: Sequence[ChargeKey], now: datetime) -> list[Charge]:
    """Those of some requests whose customers are to be reminded, locked like the due ones."""
    return [
        charge
        for charge in (await locked(tx, keys)).values()
        if charge.next_reminder_time is not None and charge.next_reminder_time <= now
    ]


def _names(keys: Sequence[ChargeKey]) -> list[str]:
    return ["/".join(key) for key in keys]


async def of_customer(
    tx: Connection, owner: CustomerKey, state: str, after: str, limit: int
) -> list[Charge]:
    """A customer's charges by id, after an id; only those in a state, unless it is empty."""
    return await _OF_CUSTOMER.all(tx, **owner._asdict(), state=state, after=after, limit=limit)


async def of_merchant(
    tx: Connection, merchant: MerchantId, state: str, after: tuple[str, str], limit: int
) -> list[Charge]:
    """A merchant's charges by id and customer, as those of a customer."""
    charge, customer = after
    return await _OF_MERCHANT.all(
        tx, merchant=merchant, state=state, after=charge, after_customer=customer, limit=limit
    )


async def wake(tx: Connection, keys: Iterable[ChargeKey], now: datetime) -> None:
    """Make charges that wait for the delivery of their notice due now.

    They are locked first: the guard may just be about to let one of them wait.
    """
    waiting = set(keys)
    await _LOCKED.all_for(tx, waiting)
    await _WAKE.run_for(tx, waiting, now=now)


async def wake_awaiting(tx: Connection, methods: Iterable[PaymentMethodKey], now: datetime) -> None:
    """Make the next charge that waits for each payment method due now."""
    await _WAKE_AWAITING.run_for(tx, sorted(set(methods)), now=now)
