"""Attempts: stored before they are sent, and looked up until their outcome is known."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.attempts import Attempt, state_after
from services.payments.domain.dunning import STANDARD, DunningPolicy
from services.payments.domain.keys import ChargeId, ChargeKey, CustomerId, MandateKey, MerchantId
from services.payments.domain.outcomes import (
    PENDING_LOOKUP_DELAY,
    Declined,
    FinalOutcome,
    NotMade,
    Pending,
    RequiresAction,
    Unknown,
    retry_delay,
)
from services.payments.domain.transitions import OPEN_ATTEMPTS, AttemptState
from services.payments.domain.verdicts import Verdict
from services.payments.domain.webhooks import WebhookEvent
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _HintedRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    idempotency_key: str
    state: AttemptState


# Statements that are given keys compare `state || ''`, which keeps the planner from the index of a
# state, and from all that is in it. What has no end has an outcome that is looked up.

# Stored with their keys before they are sent, with the tokens that they are sent by. What no verdict
# permits is not stored, and so not sent.
_BEGIN = Query(
    """
    WITH begun AS (
        INSERT INTO attempts (merchant, customer, charge, number, idempotency_key, amount_minor,
                              currency, payment_method, mandate, start_time, next_lookup_time,
                              permit, provider)
        SELECT wanted.*, payment_methods.provider FROM unnest(
            CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
            CAST(:number AS integer[]), CAST(:idempotency_key AS text[]),
            CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
            CAST(:payment_method AS text[]), CAST(:mandate AS text[]),
            CAST(:start_time AS timestamptz[]), CAST(:next_lookup_time AS timestamptz[]),
            CAST(:permit AS smallint[]))
          AS wanted (merchant, customer, charge, number, idempotency_key, amount_minor, currency,
                     payment_method, mandate, start_time, next_lookup_time, permit)
        JOIN payment_methods USING (customer, merchant, payment_method)
        CROSS JOIN LATERAL (
            SELECT FROM verdicts
            WHERE verdicts.customer = wanted.customer AND verdicts.merchant = wanted.merchant
              AND verdicts.charge = wanted.charge AND verdicts.number = wanted.number
              AND verdicts.permit = wanted.permit AND verdicts.reasons = '{}'
            OFFSET 0) AS permitting
        RETURNING *
    )
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency,
           payment_method, mandate, start_time, permit, resend_time, state, begun.decline_code,
           policy_version, provider_payment, end_time, lookup_count, next_lookup_time, mismatch,
           action_url, action_expire_time, provider_token, provider_customer, begun.provider
    FROM begun
    JOIN payment_methods USING (customer, merchant, payment_method)
""",
    Attempt,
)

_DUE = Query(
    """
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency,
           payment_method, mandate, start_time, permit, resend_time, state, attempts.decline_code,
           policy_version, provider_payment, end_time, lookup_count, next_lookup_time, mismatch,
           action_url, action_expire_time, provider_token, provider_customer, attempts.provider
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT customer, merchant, charge, number FROM attempts
            WHERE provider = :provider AND bucket = leased.bucket AND next_lookup_time <= :now
              AND merchant || '/' || customer || '/' || charge <> ALL(CAST(:left_out AS text[]))
            ORDER BY next_lookup_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN attempts USING (customer, merchant, charge, number)
    JOIN payment_methods USING (customer, merchant, payment_method)
""",
    Attempt,
)

_UNKNOWN = Query(
    """
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency,
           payment_method, mandate, start_time, permit, resend_time, state, decline_code,
           policy_version, provider_payment, end_time, lookup_count, next_lookup_time, mismatch,
           action_url, action_expire_time
    FROM attempts WHERE state = 'UNKNOWN' AND start_time <= :started_by
    ORDER BY start_time LIMIT :limit
""",
    Attempt,
)

_LOOK_UP = Command("""
    UPDATE attempts SET next_lookup_time = :now
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[])) AS wanted (customer, merchant, charge, number)
    WHERE attempts.customer = wanted.customer AND attempts.merchant = wanted.merchant
      AND attempts.charge = wanted.charge AND attempts.number = wanted.number
      AND attempts.end_time IS NULL AND attempts.next_lookup_time > :now
""")

_HINTED = Query(
    """
    SELECT hint.merchant, hint.customer, hint.charge, hint.idempotency_key, attempt.state
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:idempotency_key AS text[])) AS hint (customer, merchant, charge, idempotency_key)
    CROSS JOIN LATERAL (
        SELECT state FROM attempts
        WHERE attempts.customer = hint.customer AND attempts.merchant = hint.merchant
          AND attempts.charge = hint.charge AND attempts.idempotency_key = hint.idempotency_key
        OFFSET 0) AS attempt
""",
    _HintedRow,
)

# One that was never looked up may still be under way, and is looked up soon enough.
_HINT = Command("""
    UPDATE attempts SET next_lookup_time = :now, provider_payment = hint.object
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:idempotency_key AS text[]), CAST(:object AS text[]))
      AS hint (customer, merchant, charge, idempotency_key, object)
    WHERE attempts.customer = hint.customer AND attempts.merchant = hint.merchant
      AND attempts.charge = hint.charge AND attempts.idempotency_key = hint.idempotency_key
      AND attempts.end_time IS NULL AND attempts.next_lookup_time > :now
      AND (attempts.state <> 'UNKNOWN' OR attempts.lookup_count > 0)
""")

_RESEND = Query(
    """
    UPDATE attempts SET resend_time = :now, permit = sent.permit
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[]), CAST(:permit AS smallint[]))
      AS sent (customer, merchant, charge, number, permit)
    CROSS JOIN LATERAL (
        SELECT FROM verdicts
        WHERE verdicts.customer = sent.customer AND verdicts.merchant = sent.merchant
          AND verdicts.charge = sent.charge AND verdicts.number = sent.number
          AND verdicts.permit = sent.permit AND verdicts.reasons = '{}'
        OFFSET 0) AS permitting
    WHERE attempts.customer = sent.customer AND attempts.merchant = sent.merchant
      AND attempts.charge = sent.charge AND attempts.number = sent.number
      AND attempts.state || '' = 'UNKNOWN' AND attempts.resend_time IS NULL AND attempts.mismatch = ''
    RETURNING attempts.merchant, attempts.customer, attempts.charge
""",
    ChargeKey,
)

_SETTLE = Query(
    """
    UPDATE attempts SET state = done.state, decline_code = done.decline_code,
                        policy_version = done.policy_version,
                        provider_payment = done.provider_payment, end_time = :now,
                        next_lookup_time = NULL, action_url = ''
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[]), CAST(:state AS text[]), CAST(:decline_code AS text[]),
                CAST(:policy_version AS integer[]), CAST(:provider_payment AS text[]))
      AS done (customer, merchant, charge, number, state, decline_code, policy_version,
               provider_payment)
    WHERE attempts.customer = done.customer AND attempts.merchant = done.merchant
      AND attempts.charge = done.charge AND attempts.number = done.number
      AND attempts.end_time IS NULL
    RETURNING attempts.merchant, attempts.customer, attempts.charge
""",
    ChargeKey,
)

# One that is pending already is looked up again.
_SUBMIT = Command("""
    UPDATE attempts SET state = taken.state, provider_payment = taken.provider_payment,
                        next_lookup_time = taken.next_lookup_time, lookup_count = 0, mismatch = '',
                        action_url = '', action_expire_time = taken.action_expire_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[]), CAST(:state AS text[]), CAST(:provider_payment AS text[]),
                CAST(:next_lookup_time AS timestamptz[]), CAST(:action_expire_time AS timestamptz[]))
      AS taken (customer, merchant, charge, number, state, provider_payment, next_lookup_time,
                action_expire_time)
    WHERE attempts.customer = taken.customer AND attempts.merchant = taken.merchant
      AND attempts.charge = taken.charge AND attempts.number = taken.number
      AND attempts.end_time IS NULL
""")

# Of one that waits already the time alone changes; the others are news.
_ASK = Query(
    """
    UPDATE attempts SET state = asked.state, provider_payment = asked.provider_payment,
                        next_lookup_time = asked.next_lookup_time, lookup_count = 0, mismatch = '',
                        action_url = asked.action_url, action_expire_time = asked.action_expire_time
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[]), CAST(:state AS text[]), CAST(:provider_payment AS text[]),
                CAST(:next_lookup_time AS timestamptz[]), CAST(:action_url AS text[]),
                CAST(:action_expire_time AS timestamptz[]))
      AS asked (customer, merchant, charge, number, state, provider_payment, next_lookup_time,
                action_url, action_expire_time)
    WHERE attempts.customer = asked.customer AND attempts.merchant = asked.merchant
      AND attempts.charge = asked.charge AND attempts.number = asked.number
      AND attempts.end_time IS NULL
    RETURNING attempts.merchant, attempts.customer, attempts.charge
""",
    ChargeKey,
)

# Those that wait for their customer, or for a bank that may not have them yet.
_END_ACTIONS_OF_CHARGES = Command("""
    UPDATE attempts SET action_expire_time = :now, next_lookup_time = :now
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS given (customer, merchant, charge)
    WHERE attempts.customer = given.customer AND attempts.merchant = given.merchant
      AND attempts.charge = given.charge AND attempts.end_time IS NULL
      AND attempts.state || '' <> 'UNKNOWN'
      AND (attempts.action_expire_time IS NULL OR attempts.action_expire_time > :now)
""")

_END_ACTIONS_OF_MANDATES = Command("""
    UPDATE attempts SET action_expire_time = :now, next_lookup_time = :now
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS given (customer, merchant, mandate)
    WHERE attempts.customer = given.customer AND attempts.merchant = given.merchant
      AND attempts.mandate = given.mandate AND attempts.state IN ('PENDING', 'REQUIRES_ACTION')
      AND (attempts.action_expire_time IS NULL OR attempts.action_expire_time > :now)
""")

_POSTPONE = Command("""
    UPDATE attempts SET next_lookup_time = later.next_lookup_time,
                        lookup_count = later.lookup_count, mismatch = later.mismatch
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]),
                CAST(:number AS integer[]), CAST(:lookup_count AS integer[]),
                CAST(:next_lookup_time AS timestamptz[]), CAST(:mismatch AS text[]))
      AS later (customer, merchant, charge, number, lookup_count, next_lookup_time, mismatch)
    WHERE attempts.customer = later.customer AND attempts.merchant = later.merchant
      AND attempts.charge = later.charge AND attempts.number = later.number
      AND attempts.end_time IS NULL
""")

_OF_CHARGES = Query(
    """
    SELECT merchant, customer, charge, number, idempotency_key, amount_minor, currency,
           payment_method, mandate, start_time, permit, resend_time, state, decline_code,
           policy_version, provider_payment, end_time, lookup_count, next_lookup_time, mismatch,
           action_url, action_expire_time
    FROM attempts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY number
""",
    Attempt,
)


async def begin(tx: Connection, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Store attempts; returns what is to be sent."""
    return await _BEGIN.all_for(tx, attempts)


async def due(
    tx: Connection,
    provider: str,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[ChargeKey],
) -> list[Attempt]:
    """A batch of a provider's attempts whose outcome is to be looked up now, but for some charges'."""
    keys = ["/".join(key) for key in left_out]
    return await _DUE.all(
        tx, provider=provider, buckets=buckets, now=now, limit=limit, left_out=keys
    )


async def unknown(tx: Connection, started_by: datetime, limit: int) -> list[Attempt]:
    """The attempts since before a time whose outcome nobody knows, the oldest first."""
    return await _UNKNOWN.all(tx, started_by=started_by, limit=limit)


async def look_up(tx: Connection, attempts: Sequence[Attempt], now: datetime) -> None:
    """Have attempts looked up at once, not when their turn comes."""
    await _LOOK_UP.run_for(tx, attempts, now=now)


async def hinted(
    tx: Connection, events: Sequence[WebhookEvent], now: datetime
) -> dict[tuple[ChargeKey, str], AttemptState]:
    """Have attempts looked up at once that webhooks are about, by the payments that they name.

    Returns the states of those that exist, by their charges and keys.
    """
    rows = await _HINTED.all_for(tx, events)
    states = {(ChargeKey(*row[:3]), row.idempotency_key): row.state for row in rows}
    if not OPEN_ATTEMPTS.isdisjoint(states.values()):
        await _HINT.run_for(tx, events, now=now)
    return states


async def resend(tx: Connection, permits: Sequence[Verdict], now: datetime) -> set[ChargeKey]:
    """Note that attempts are sent once more; returns those that nobody else has sent or settled."""
    return set(await _RESEND.all_for(tx, permits, now=now))


async def settle(
    tx: Connection,
    outcomes: Sequence[tuple[Attempt, FinalOutcome]],
    policies: Mapping[MerchantId, DunningPolicy],
    now: datetime,
) -> set[ChargeKey]:
    """Write outcomes, and which versions of merchants' policies follow declines.

    Returns the charges whose outcome was not known before.
    """
    known = [outcome for _, outcome in outcomes]
    return set(
        await _SETTLE.all_for(
            tx,
            [attempt for attempt, _ in outcomes],
            state=[state_after(attempt, outcome) for attempt, outcome in outcomes],
            decline_code=[o.code if isinstance(o, Declined) else "" for o in known],
            policy_version=[
                policies.get(attempt.merchant, STANDARD).version
                if isinstance(outcome, Declined) and attempt.mandate
                else None
                for attempt, outcome in outcomes
            ],
            provider_payment=["" if isinstance(o, NotMade) else o.provider_id for o in known],
            now=now,
        )
    )


async def submit(tx: Connection, pending: Sequence[tuple[Attempt, Pending]], now: datetime) -> None:
    """Note that the provider has attempts, and when it is asked again what came of them.

    One that is to be given up, but was not before, is so at once.
    """
    attempts = [attempt for attempt, _ in pending]
    await _SUBMIT.run_for(
        tx,
        attempts,
        state=[state_after(attempt, outcome) for attempt, outcome in pending],
        provider_payment=[outcome.provider_id for _, outcome in pending],
        next_lookup_time=[_pending_lookup_time(attempt, now) for attempt in attempts],
    )


async def ask(tx: Connection, asked: Sequence[tuple[Attempt, RequiresAction]]) -> set[ChargeKey]:
    """Note that customers have to confirm attempts; returns the charges of those that are open."""
    attempts = [attempt for attempt, _ in asked]
    return set(
        await _ASK.all_for(
            tx,
            attempts,
            state=[state_after(attempt, outcome) for attempt, outcome in asked],
            provider_payment=[outcome.provider_id for _, outcome in asked],
            action_url=[outcome.url for _, outcome in asked],
        )
    )


async def end_actions(tx: Connection, keys: Iterable[ChargeKey], now: datetime) -> None:
    """Give up those attempts of charges that wait for the customer: the look-up cancels them."""
    await _END_ACTIONS_OF_CHARGES.run_for(tx, sorted(set(keys)), now=now)


async def end_actions_under(tx: Connection, keys: Iterable[MandateKey], now: datetime) -> None:
    """Give up those attempts under mandates that wait for the customer or their bank."""
    await _END_ACTIONS_OF_MANDATES.run_for(tx, sorted(set(keys)), now=now)


def _pending_lookup_time(attempt: Attempt, now: datetime) -> datetime:
    is_news = attempt.state is not AttemptState.PENDING and attempt.action_expire_time is not None
    return now if is_news else now + PENDING_LOOKUP_DELAY


async def postpone(
    tx: Connection, unknown: Sequence[tuple[Attempt, Unknown]], now: datetime
) -> None:
    """Look attempts up again, later and later: their outcome is still not known."""
    attempts = [attempt for attempt, _ in unknown]
    await _POSTPONE.run_for(
        tx,
        attempts,
        lookup_count=[attempt.lookup_count + 1 for attempt in attempts],
        next_lookup_time=[now + retry_delay(attempt.lookup_count) for attempt in attempts],
        # What was once answered falsely stays for people to look at.
        mismatch=[outcome.mismatch or attempt.mismatch for attempt, outcome in unknown],
    )


async def of_charges(tx: Connection, keys: Iterable[ChargeKey]) -> dict[ChargeKey, list[Attempt]]:
    """The attempts of charges, the oldest first."""
    attempts: dict[ChargeKey, list[Attempt]] = {}
    for attempt in await _OF_CHARGES.all_for(tx, set(keys)):
        attempts.setdefault(attempt.charge_key, []).append(attempt)
    return attempts
