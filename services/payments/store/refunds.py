"""Refunds, sent until the provider has answered each."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import ChargeId, ChargeKey, CustomerId, MerchantId, RefundKey
from services.payments.domain.outcomes import Declined, Succeeded, Unknown, retry_delay
from services.payments.domain.refunds import (
    Refund,
    RefundLine,
    given_lines,
    load_refund_lines,
    next_follow_up,
    settled_state,
)
from services.payments.domain.transitions import RefundState
from services.payments.domain.webhooks import WebhookEvent
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class RefundTotal(NamedTuple):
    """What was given back of a charge."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    # As credit, which is given at once and stays given whatever becomes of the rest.
    credit_minor: int
    # To the payment method: given back or on its way, and given back.
    promised_minor: int
    refunded_minor: int


class _LinesRow(NamedTuple):
    lines: str
    # What of them was given, or is on its way: of a refund that failed, what became credit.
    given_minor: int


_INSERT = Command("""
    INSERT INTO refunds (merchant, customer, charge, refund, amount_minor, currency, note,
                         idempotency_key, traceparent, next_try_time, create_time, update_time,
                         state, credit_minor, lines, provider)
    SELECT new.*, coalesce(paid.provider, '') FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:refund AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:note AS bytea[]), CAST(:idempotency_key AS text[]), CAST(:traceparent AS text[]),
        CAST(:next_try_time AS timestamptz[]), CAST(:create_time AS timestamptz[]),
        CAST(:update_time AS timestamptz[]), CAST(:state AS text[]), CAST(:credit_minor AS bigint[]),
        CAST(:lines AS jsonb[]))
      AS new (merchant, customer, charge, refund, amount_minor, currency, note, idempotency_key,
              traceparent, next_try_time, create_time, update_time, state, credit_minor, lines)
    LEFT JOIN LATERAL (
        SELECT provider FROM attempts
        WHERE attempts.customer = new.customer AND attempts.merchant = new.merchant
          AND attempts.charge = new.charge AND attempts.state = 'SUCCEEDED' OFFSET 0
    ) AS paid ON true
    ON CONFLICT (customer, merchant, charge, refund) DO NOTHING
""")

_BY_KEY = Query(
    """
    SELECT merchant, customer, charge, refund, amount_minor, currency, note, state,
           idempotency_key, create_time, update_time, try_count, mismatch, failure_code, traceparent,
           credit_minor, lines::text
    FROM refunds
    WHERE customer = :customer AND merchant = :merchant AND charge = :charge AND refund = :refund
""",
    Refund,
)

_OF_CHARGE = Query(
    """
    SELECT merchant, customer, charge, refund, amount_minor, currency, note, state,
           idempotency_key, create_time, update_time, try_count, mismatch, failure_code, traceparent,
           credit_minor, lines::text
    FROM refunds
    WHERE customer = :customer AND merchant = :merchant AND charge = :charge AND refund > :after
    ORDER BY refund LIMIT :limit
""",
    Refund,
)

_TOTALS = Query(
    """
    SELECT merchant, customer, charge,
           CAST(sum(credit_minor) AS bigint) AS credit_minor,
           CAST(coalesce(sum(amount_minor - credit_minor) FILTER (WHERE state <> 'FAILED'), 0)
                AS bigint) AS promised_minor,
           CAST(coalesce(sum(amount_minor - credit_minor) FILTER (WHERE state = 'SUCCEEDED'), 0)
                AS bigint) AS refunded_minor
    FROM refunds
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
    GROUP BY customer, merchant, charge
""",
    RefundTotal,
)

_LINES = Query(
    """
    SELECT lines::text, CASE state WHEN 'FAILED' THEN credit_minor ELSE amount_minor END AS given_minor
    FROM refunds
    WHERE customer = :customer AND merchant = :merchant AND charge = :charge AND lines <> '[]'
""",
    _LinesRow,
)

_DUE = Query(
    """
    SELECT merchant, customer, charge, refund, amount_minor, currency, note,
           state, idempotency_key, create_time, update_time, try_count, mismatch, failure_code,
           traceparent, credit_minor, lines::text,
           coalesce(paid.provider_payment, '') AS provider_payment, refunds.provider
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT customer, merchant, charge, refund FROM refunds
            WHERE provider = :provider AND bucket = leased.bucket AND next_try_time <= :now
              AND merchant || '/' || customer || '/' || charge || '/' || refund
                  <> ALL(CAST(:left_out AS text[]))
            ORDER BY next_try_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN refunds USING (customer, merchant, charge, refund)
    LEFT JOIN LATERAL (
        SELECT provider_payment FROM attempts
        WHERE attempts.customer = refunds.customer AND attempts.merchant = refunds.merchant
          AND attempts.charge = refunds.charge AND attempts.state = 'SUCCEEDED' OFFSET 0
    ) AS paid ON true
""",
    Refund,
)

_KNOWN = Query(
    """
    SELECT hint.merchant, hint.customer, hint.charge, hint.refund
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[])) AS hint (customer, merchant, charge, refund)
    CROSS JOIN LATERAL (
        SELECT FROM refunds
        WHERE refunds.customer = hint.customer AND refunds.merchant = hint.merchant
          AND refunds.charge = hint.charge AND refunds.refund = hint.refund OFFSET 0) AS known
""",
    RefundKey,
)

# One that was never tried again may still be under way. One that succeeded may have been sent back.
_HINT = Command("""
    UPDATE refunds SET next_try_time = :now
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]), CAST(:moved AS boolean[]))
      AS hint (customer, merchant, charge, refund, moved)
    WHERE refunds.customer = hint.customer AND refunds.merchant = hint.merchant
      AND refunds.charge = hint.charge AND refunds.refund = hint.refund
      AND ((refunds.state = 'PENDING' AND try_count > 0)
           OR (refunds.state = 'SUCCEEDED' AND NOT hint.moved))
      AND coalesce(next_try_time, 'infinity') > :now
""")

_SETTLE = Query(
    """
    UPDATE refunds SET state = done.state, failure_code = done.failure_code,
                       provider_refund = done.provider_refund, update_time = :now,
                       next_try_time = done.next_try_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]), CAST(:state AS text[]), CAST(:failure_code AS text[]),
                CAST(:provider_refund AS text[]), CAST(:next_try_time AS timestamptz[]),
                CAST(:state_before AS text[]))
      AS done (customer, merchant, charge, refund, state, failure_code, provider_refund,
               next_try_time, state_before)
    WHERE refunds.customer = done.customer AND refunds.merchant = done.merchant
      AND refunds.charge = done.charge AND refunds.refund = done.refund
      AND refunds.state = done.state_before
    RETURNING refunds.merchant, refunds.customer, refunds.charge, refunds.refund, amount_minor,
              currency, note, refunds.state, idempotency_key, create_time, update_time, try_count,
              mismatch, refunds.failure_code, traceparent, credit_minor, lines::text
""",
    Refund,
)

_FOLLOW_UP = Command("""
    UPDATE refunds SET next_try_time = later.next_try_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]), CAST(:next_try_time AS timestamptz[]))
      AS later (customer, merchant, charge, refund, next_try_time)
    WHERE refunds.customer = later.customer AND refunds.merchant = later.merchant
      AND refunds.charge = later.charge AND refunds.refund = later.refund
      AND refunds.state = 'SUCCEEDED'
""")

_POSTPONE = Command("""
    UPDATE refunds SET next_try_time = later.next_try_time, try_count = later.try_count,
                       mismatch = later.mismatch
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:refund AS text[]), CAST(:try_count AS integer[]),
                CAST(:next_try_time AS timestamptz[]), CAST(:mismatch AS text[]),
                CAST(:state AS text[]))
      AS later (customer, merchant, charge, refund, try_count, next_try_time, mismatch, state)
    WHERE refunds.customer = later.customer AND refunds.merchant = later.merchant
      AND refunds.charge = later.charge AND refunds.refund = later.refund
      AND refunds.state = later.state
""")


async def insert(tx: Connection, refund: Refund) -> bool:
    """Add a refund, to be sent now if it is PENDING; False if its id is taken."""
    pending = refund.state is RefundState.PENDING
    try_time = refund.create_time if pending else None
    return await _INSERT.run_for(tx, [refund], next_try_time=[try_time]) == 1


async def refund(tx: Connection, key: RefundKey) -> Refund | None:
    """A refund; None if there is none of this name."""
    return await _BY_KEY.one_or_none(tx, **key._asdict())


async def of_charge(tx: Connection, charge: ChargeKey, after: str, limit: int) -> list[Refund]:
    """The refunds of a charge by id, after an id."""
    return await _OF_CHARGE.all(tx, **charge._asdict(), after=after, limit=limit)


async def lines(tx: Connection, charge: ChargeKey) -> list[RefundLine]:
    """What has been given back of a charge by line, or is on its way."""
    rows = await _LINES.all(tx, **charge._asdict())
    return [
        line for row in rows for line in given_lines(load_refund_lines(row.lines), row.given_minor)
    ]


async def total(tx: Connection, charge: ChargeKey) -> RefundTotal:
    """What was given back of a charge, and what is on its way."""
    rows = await _TOTALS.all_for(tx, [charge])
    return rows[0] if rows else RefundTotal(*charge, 0, 0, 0)


async def refunded_minor(tx: Connection, charges: Iterable[ChargeKey]) -> dict[ChargeKey, int]:
    """What has been given back of those charges that have refunds."""
    rows = await _TOTALS.all_for(tx, set(charges))
    return {
        ChargeKey(row.merchant, row.customer, row.charge): row.credit_minor + row.refunded_minor
        for row in rows
    }


async def due(
    tx: Connection,
    provider: str,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[RefundKey],
) -> list[Refund]:
    """A batch of a provider's refunds that are to be sent, or looked at again, now, but for some."""
    keys = ["/".join(key) for key in left_out]
    return await _DUE.all(
        tx, provider=provider, buckets=buckets, now=now, limit=limit, left_out=keys
    )


async def hinted(tx: Connection, events: Sequence[WebhookEvent], now: datetime) -> set[RefundKey]:
    """Have refunds looked at at once that webhooks are about; returns those that exist."""
    known = {RefundKey(*row) for row in await _KNOWN.all_for(tx, events)}
    if known:
        await _HINT.run_for(tx, events, now=now)
    return known


async def settle(
    tx: Connection, outcomes: Sequence[tuple[Refund, Succeeded | Declined]], now: datetime
) -> list[Refund]:
    """Write outcomes that change a state; returns the refunds, as they are now, that they changed."""
    known = [outcome for _, outcome in outcomes]
    succeeded = [isinstance(outcome, Succeeded) for outcome in known]
    return await _SETTLE.all_for(
        tx,
        [refund for refund, _ in outcomes],
        state=[settled_state(refund, outcome) for refund, outcome in outcomes],
        failure_code=[o.code if isinstance(o, Declined) else "" for o in known],
        provider_refund=[o.provider_id for o in known],
        next_try_time=[next_follow_up(now, now) if success else None for success in succeeded],
        state_before=[refund.state for refund, _ in outcomes],
        now=now,
    )


async def follow_up(tx: Connection, refunds: Sequence[Refund], now: datetime) -> None:
    """Look at refunds that succeeded again later, until they have been looked at for the last time."""
    await _FOLLOW_UP.run_for(
        tx,
        refunds,
        next_try_time=[next_follow_up(refund.update_time, now) for refund in refunds],
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
        next_try_time=[now + retry_delay(refund.try_count) for refund in refunds],
        mismatch=[outcome.mismatch or refund.mismatch for refund, outcome in unknown],
        state=[refund.state for refund in refunds],
    )
