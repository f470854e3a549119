"""Refunds, claimed while they are sent."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import ChargeId, ChargeKey, CustomerId, MerchantId, RefundKey
from services.payments.domain.outcomes import Declined, Succeeded, Unknown, ask_again_delay
from services.payments.domain.refunds import Refund, settled_state
from services.runtime.db import leases
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar


class _TotalRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    promised_minor: int
    refunded_minor: int


_INSERT = Command("""
    INSERT INTO refunds (merchant, customer, charge, refund, amount_minor, currency, note,
                         idempotency_key, traceparent, next_try_time, create_time, update_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:refund AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:note AS bytea[]), CAST(:idempotency_key AS text[]), CAST(:traceparent AS text[]),
        CAST(:next_try_time AS timestamptz[]), CAST(:create_time AS timestamptz[]),
        CAST(:update_time AS timestamptz[]))
    ON CONFLICT (customer, merchant, charge, refund) DO NOTHING
""")

_BY_KEY = Query(
    """
    SELECT merchant, customer, charge, refund, amount_minor, currency, note, state,
           idempotency_key, create_time, update_time, try_count, mismatch, traceparent
    FROM refunds
    WHERE customer = :customer AND merchant = :merchant AND charge = :charge AND refund = :refund
""",
    Refund,
)

_OF_CHARGE = Query(
    """
    SELECT merchant, customer, charge, refund, amount_minor, currency, note, state,
           idempotency_key, create_time, update_time, try_count, mismatch, traceparent
    FROM refunds
    WHERE customer = :customer AND merchant = :merchant AND charge = :charge AND refund > :after
    ORDER BY refund LIMIT :limit
""",
    Refund,
)

_TOTALS = Query(
    """
    SELECT merchant, customer, charge,
           CAST(sum(amount_minor) AS bigint) AS promised_minor,
           CAST(coalesce(sum(amount_minor) FILTER (WHERE state = 'SUCCEEDED'), 0) AS bigint)
             AS refunded_minor
    FROM refunds
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
    WHERE state <> 'FAILED'
    GROUP BY customer, merchant, charge
""",
    _TotalRow,
)

_CLAIM = Query(
    """
    WITH due AS MATERIALIZED (
        SELECT customer, merchant, charge, refund FROM refunds
        WHERE state = 'PENDING' AND next_try_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY next_try_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE refunds SET claim_time = now()
        FROM due
        WHERE refunds.customer = due.customer AND refunds.merchant = due.merchant
          AND refunds.charge = due.charge AND refunds.refund = due.refund
        RETURNING refunds.*
    )
    SELECT merchant, customer, charge, refund, claimed.amount_minor, claimed.currency, note,
           claimed.state, claimed.idempotency_key, create_time, update_time, try_count,
           claimed.mismatch, traceparent,
           provider_payment
    FROM claimed
    JOIN attempts USING (customer, merchant, charge)
    WHERE attempts.state = 'SUCCEEDED'
""",
    Refund,
)

_RELEASE = Command("""
    UPDATE refunds SET claim_time = NULL
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[])) AS claimed (customer, merchant, charge, refund)
    WHERE refunds.customer = claimed.customer AND refunds.merchant = claimed.merchant
      AND refunds.charge = claimed.charge AND refunds.refund = claimed.refund
""")

_NEXT_TRY: Query[datetime | None] = Query(
    "SELECT min(next_try_time) FROM refunds WHERE state = 'PENDING'", scalar
)

# By its key: `state || ''` keeps the planner from the index of a state, and from all that is in it.
_SETTLE = Query(
    """
    UPDATE refunds SET state = done.state, failure_code = done.failure_code,
                       provider_refund = done.provider_refund, update_time = :now,
                       next_try_time = NULL, claim_time = NULL
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]), CAST(:state AS text[]), CAST(:failure_code AS text[]),
                CAST(:provider_refund AS text[]))
      AS done (customer, merchant, charge, refund, state, failure_code, provider_refund)
    WHERE refunds.customer = done.customer AND refunds.merchant = done.merchant
      AND refunds.charge = done.charge AND refunds.refund = done.refund
      AND refunds.state || '' = 'PENDING'
    RETURNING refunds.merchant, refunds.customer, refunds.charge, refunds.refund, amount_minor,
              currency, note, refunds.state, idempotency_key, create_time, update_time, try_count,
              mismatch, traceparent
""",
    Refund,
)

_POSTPONE = Command("""
    UPDATE refunds SET next_try_time = later.next_try_time, try_count = later.try_count,
                       mismatch = later.mismatch, claim_time = NULL
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]), CAST(:try_count AS integer[]),
                CAST(:next_try_time AS timestamptz[]), CAST(:mismatch AS text[]))
      AS later (customer, merchant, charge, refund, try_count, next_try_time, mismatch)
    WHERE refunds.customer = later.customer AND refunds.merchant = later.merchant
      AND refunds.charge = later.charge AND refunds.refund = later.refund
      AND refunds.state || '' = 'PENDING'
""")


async def insert(tx: Connection, refund: Refund) -> bool:
    """Add a refund, to be sent now; False if its id is taken."""
    return await _INSERT.run_for(tx, [refund], next_try_time=[refund.create_time]) == 1


async def refund(tx: Connection, key: RefundKey) -> Refund | None:
    """A refund; None if there is none of this name."""
    return await _BY_KEY.one_or_none(tx, **key._asdict())


async def of_charge(tx: Connection, charge: ChargeKey, after: str, limit: int) -> list[Refund]:
    """The refunds of a charge by id, after an id."""
    return await _OF_CHARGE.all(tx, **charge._asdict(), after=after, limit=limit)


async def promised_minor(tx: Connection, charge: ChargeKey) -> int:
    """What has been given back of a charge or is on its way."""
    return sum(row.promised_minor for row in await _TOTALS.all_for(tx, [charge]))


async def refunded_minor(tx: Connection, charges: Iterable[ChargeKey]) -> dict[ChargeKey, int]:
    """What has been given back of those charges that have refunds."""
    rows = await _TOTALS.all_for(tx, set(charges))
    return {ChargeKey(row.merchant, row.customer, row.charge): row.refunded_minor for row in rows}


async def claim(tx: Connection, now: datetime, limit: int) -> list[Refund]:
    """A batch of the refunds that are to be sent now."""
    return await _CLAIM.all(tx, now=now, limit=limit, claim_seconds=leases.OUTSIDE.seconds)


async def release(tx: Connection, refunds: Sequence[Refund]) -> None:
    """Give claims back, so that the refunds are sent again at once."""
    await _RELEASE.run_for(tx, refunds)


async def next_try(tx: Connection) -> datetime | None:
    """When the next refund is sent."""
    return await _NEXT_TRY.one(tx)


async def settle(
    tx: Connection, outcomes: Sequence[tuple[Refund, Succeeded | Declined]], now: datetime
) -> list[Refund]:
    """Write outcomes; returns the refunds, as they are now, whose outcome was not known before."""
    known = [outcome for _, outcome in outcomes]
    return await _SETTLE.all_for(
        tx,
        [refund for refund, _ in outcomes],
        state=[settled_state(refund, outcome) for refund, outcome in outcomes],
        failure_code=[o.code if isinstance(o, Declined) else "" for o in known],
        provider_refund=[o.provider_id for o in known],
        now=now,
    )


async def postpone(
    tx: Connection, unknown: Sequence[tuple[Refund, Unknown]], now: datetime
) -> None:
    """Ask for refunds again, later and later: their outcome is not known."""
    refunds = [refund for refund, _ in unknown]
    await _POSTPONE.run_for(
        tx,
        refunds,
        try_count=[refund.try_count + 1 for refund in refunds],
        next_try_time=[now + ask_again_delay(refund.try_count) for refund in refunds],
        mismatch=[outcome.mismatch or refund.mismatch for refund, outcome in unknown],
    )
