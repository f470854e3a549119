"""Attempts: stored before they are sent, claimed while they are looked up."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.payments.domain.attempts import Attempt, settled_state
from services.payments.domain.keys import ChargeKey, CustomerId, MerchantId
from services.payments.domain.outcomes import Declined, NotMade, Succeeded, Unknown, ask_again_delay
from services.payments.domain.transitions import AttemptState
from services.payments.store import keys
from services.runtime.db import leases
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _AttemptRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: str
    number: int
    idempotency_key: str
    amount_minor: int
    currency: str
    payment_method: str
    mandate: str
    start_time: datetime
    resend_time: datetime | None
    state: str
    decline_code: str
    provider_payment: str
    end_time: datetime | None
    lookup_count: int
    mismatch: str


class _ToSendRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: str
    number: int
    idempotency_key: str
    amount_minor: int
    currency: str
    payment_method: str
    mandate: str
    start_time: datetime
    resend_time: datetime | None
    state: str
    decline_code: str
    provider_payment: str
    end_time: datetime | None
    lookup_count: int
    mismatch: str
    provider_token: bytes


class UnknownAttempt(NamedTuple):
    """An attempt whose outcome nobody knows, as operators see it."""

    merchant: MerchantId
    customer: CustomerId
    charge: str
    number: int
    idempotency_key: str
    amount_minor: int
    currency: str
    start_time: datetime
    lookup_count: int
    next_lookup_time: datetime
    mismatch: str


_INSERT = Command("""
    INSERT INTO attempts (merchant, customer, charge, number, idempotency_key, amount_minor,
                          currency, payment_method, mandate, start_time, next_lookup_time,
                          claim_time)
    SELECT *, now() FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:number AS integer[]), CAST(:idempotency_key AS text[]),
        CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:payment_method AS text[]), CAST(:mandate AS text[]),
        CAST(:start_time AS timestamptz[]), CAST(:next_lookup_time AS timestamptz[]))
""")

_TO_SEND = Query(
    """
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency,
           payment_method, mandate, start_time, resend_time, state, attempts.decline_code,
           provider_payment, end_time, lookup_count, mismatch,
           provider_token
    FROM attempts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS asked (customer, merchant, charge) USING (customer, merchant, charge)
    JOIN payment_methods USING (customer, merchant, payment_method)
    WHERE state = 'UNKNOWN'
""",
    _ToSendRow,
)

_CLAIM = Query(
    """
    WITH due AS MATERIALIZED (
        SELECT customer, merchant, charge, number FROM attempts
        WHERE state = 'UNKNOWN' AND next_lookup_time <= :now
          AND (claim_time IS NULL OR claim_time < now() - make_interval(secs => :claim_seconds))
        ORDER BY next_lookup_time LIMIT :limit FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE attempts SET claim_time = now()
        FROM due
        WHERE attempts.customer = due.customer AND attempts.merchant = due.merchant
          AND attempts.charge = due.charge AND attempts.number = due.number
        RETURNING attempts.*
    )
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency,
           payment_method, mandate, start_time, resend_time, state, claimed.decline_code,
           provider_payment, end_time, lookup_count, mismatch,
           provider_token
    FROM claimed
    JOIN payment_methods USING (customer, merchant, payment_method)
""",
    _ToSendRow,
)

_NEXT_LOOKUP = Query(
    "SELECT min(next_lookup_time) AS time FROM attempts WHERE state = 'UNKNOWN'", keys.TimeRow
)

_UNKNOWN = Query(
    """
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency, start_time,
           lookup_count, next_lookup_time, mismatch
    FROM attempts WHERE state = 'UNKNOWN' AND start_time <= :started_by
    ORDER BY start_time LIMIT :limit
""",
    UnknownAttempt,
)

# By its key: `state || ''` keeps the planner from the index of a state, and from all that is in it.
_LOOK_UP = Command("""
    UPDATE attempts SET next_lookup_time = :now
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[])) AS asked (customer, merchant, charge, number)
    WHERE attempts.customer = asked.customer AND attempts.merchant = asked.merchant
      AND attempts.charge = asked.charge AND attempts.number = asked.number
      AND attempts.state || '' = 'UNKNOWN' AND attempts.next_lookup_time > :now
""")

_RELEASE = Command("""
    UPDATE attempts SET claim_time = NULL
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[])) AS claimed (customer, merchant, charge, number)
    WHERE attempts.customer = claimed.customer AND attempts.merchant = claimed.merchant
      AND attempts.charge = claimed.charge AND attempts.number = claimed.number
""")

_RESEND = Query(
    """
    UPDATE attempts SET resend_time = :now, claim_time = now()
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[])) AS sent (customer, merchant, charge, number)
    WHERE attempts.customer = sent.customer AND attempts.merchant = sent.merchant
      AND attempts.charge = sent.charge AND attempts.number = sent.number
      AND attempts.state = 'UNKNOWN' AND attempts.resend_time IS NULL AND attempts.mismatch = ''
    RETURNING attempts.merchant, attempts.customer, attempts.charge
""",
    keys.ChargeRow,
)

_SETTLE = Query(
    """
    UPDATE attempts SET state = done.state, decline_code = done.decline_code,
                        provider_payment = done.provider_payment, end_time = :now,
                        next_lookup_time = NULL, claim_time = NULL
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[]), CAST(:state AS text[]), CAST(:decline_code AS text[]),
                CAST(:provider_payment AS text[]))
      AS done (customer, merchant, charge, number, state, decline_code, provider_payment)
    WHERE attempts.customer = done.customer AND attempts.merchant = done.merchant
      AND attempts.charge = done.charge AND attempts.number = done.number
      AND attempts.state = 'UNKNOWN'
    RETURNING attempts.merchant, attempts.customer, attempts.charge
""",
    keys.ChargeRow,
)

_POSTPONE = Command("""
    UPDATE attempts SET next_lookup_time = later.next_lookup_time,
                        lookup_count = later.lookup_count, mismatch = later.mismatch,
                        claim_time = NULL
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[]), CAST(:lookup_count AS integer[]),
                CAST(:next_lookup_time AS timestamptz[]), CAST(:mismatch AS text[]))
      AS later (customer, merchant, charge, number, lookup_count, next_lookup_time, mismatch)
    WHERE attempts.customer = later.customer AND attempts.merchant = later.merchant
      AND attempts.charge = later.charge AND attempts.number = later.number
      AND attempts.state = 'UNKNOWN'
""")

_OF_CHARGES = Query(
    """
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency,
           payment_method, mandate, start_time, resend_time, state, decline_code,
           provider_payment, end_time, lookup_count, mismatch
    FROM attempts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS asked (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY number
""",
    _AttemptRow,
)


async def begin(
    tx: Connection, attempts: Sequence[Attempt], next_lookup_time: datetime
) -> list[Attempt]:
    """Store attempts with their keys, claimed by whoever sends them; returns what is to be sent."""
    if not attempts:
        return []
    await _INSERT.run(
        tx,
        **_keys(attempts),
        idempotency_key=[attempt.idempotency_key for attempt in attempts],
        amount_minor=[attempt.amount_minor for attempt in attempts],
        currency=[attempt.currency for attempt in attempts],
        payment_method=[attempt.payment_method for attempt in attempts],
        mandate=[attempt.mandate for attempt in attempts],
        start_time=[attempt.start_time for attempt in attempts],
        next_lookup_time=[next_lookup_time for _ in attempts],
    )
    rows = await _TO_SEND.all(tx, **keys.charges(attempt.charge for attempt in attempts))
    return [_attempt(row, row.provider_token) for row in rows]


async def claim(tx: Connection, now: datetime, limit: int) -> list[Attempt]:
    """A batch of the attempts whose outcome is to be looked up now."""
    rows = await _CLAIM.all(tx, now=now, limit=limit, claim_seconds=leases.OUTSIDE.seconds)
    return [_attempt(row, row.provider_token) for row in rows]


async def release(tx: Connection, attempts: Sequence[Attempt]) -> None:
    """Give claims back, so that the attempts are looked up as soon as they are due."""
    await _RELEASE.run(tx, **_keys(attempts))


async def next_lookup(tx: Connection) -> datetime | None:
    """When the next outcome is looked up."""
    return (await _NEXT_LOOKUP.one(tx)).time


async def unknown(tx: Connection, started_by: datetime, limit: int) -> list[UnknownAttempt]:
    """The attempts since before a time whose outcome nobody knows, the oldest first."""
    return await _UNKNOWN.all(tx, started_by=started_by, limit=limit)


async def look_up(tx: Connection, attempts: Sequence[UnknownAttempt], now: datetime) -> None:
    """Have attempts looked up at once, not when their turn comes."""
    asked = {
        "customer": [attempt.customer for attempt in attempts],
        "merchant": [attempt.merchant for attempt in attempts],
        "charge": [attempt.charge for attempt in attempts],
        "number": [attempt.number for attempt in attempts],
    }
    await _LOOK_UP.run(tx, **asked, now=now)


async def resend(tx: Connection, attempts: Sequence[Attempt], now: datetime) -> set[ChargeKey]:
    """Note that attempts are sent once more; returns those that nobody else has sent or settled."""
    if not attempts:
        return set()
    rows = await _RESEND.all(tx, **_keys(attempts), now=now)
    return {keys.charge_of(row) for row in rows}


async def settle(
    tx: Connection,
    outcomes: Sequence[tuple[Attempt, Succeeded | Declined | NotMade]],
    now: datetime,
) -> set[ChargeKey]:
    """Write outcomes; returns the charges whose outcome was not known before."""
    if not outcomes:
        return set()
    rows = await _SETTLE.all(
        tx,
        **_keys([attempt for attempt, _ in outcomes]),
        state=[settled_state(attempt, outcome) for attempt, outcome in outcomes],
        decline_code=[
            outcome.code if isinstance(outcome, Declined) else "" for _, outcome in outcomes
        ],
        provider_payment=[
            "" if isinstance(outcome, NotMade) else outcome.provider_id for _, outcome in outcomes
        ],
        now=now,
    )
    return {keys.charge_of(row) for row in rows}


async def postpone(
    tx: Connection, unknown: Sequence[tuple[Attempt, Unknown]], now: datetime
) -> None:
    """Look attempts up again, later and later: their outcome is still not known."""
    if not unknown:
        return
    attempts = [attempt for attempt, _ in unknown]
    await _POSTPONE.run(
        tx,
        **_keys(attempts),
        lookup_count=[attempt.lookup_count + 1 for attempt in attempts],
        next_lookup_time=[now + ask_again_delay(attempt.lookup_count) for attempt in attempts],
        # What was once answered falsely stays for people to look at.
        mismatch=[outcome.mismatch or attempt.mismatch for attempt, outcome in unknown],
    )


async def of_charges(tx: Connection, wanted: Iterable[ChargeKey]) -> dict[ChargeKey, list[Attempt]]:
    """The attempts of charges, the oldest first."""
    found: dict[ChargeKey, list[Attempt]] = {}
    for row in await _OF_CHARGES.all(tx, **keys.charges(wanted)):
        found.setdefault(keys.charge_of(row), []).append(_attempt(row))
    return found


def _keys(attempts: Sequence[Attempt]) -> dict[str, list[Any]]:
    return {
        **keys.owners([attempt.charge.owner for attempt in attempts]),
        "charge": [attempt.charge.charge for attempt in attempts],
        "number": [attempt.number for attempt in attempts],
    }


def _attempt(row: _AttemptRow | _ToSendRow, provider_token: bytes = b"") -> Attempt:
    return Attempt(
        charge=keys.charge_of(row),
        number=row.number,
        idempotency_key=row.idempotency_key,
        amount_minor=row.amount_minor,
        currency=row.currency,
        payment_method=row.payment_method,
        mandate=row.mandate,
        start_time=row.start_time,
        resend_time=row.resend_time,
        state=AttemptState(row.state),
        decline_code=row.decline_code,
        provider_payment=row.provider_payment,
        end_time=row.end_time,
        lookup_count=row.lookup_count,
        mismatch=row.mismatch,
        provider_token=provider_token,
    )
