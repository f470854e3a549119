"""Disputes, and merchants' policies on them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.disputes import (
    ChargingPolicy,
    Dispute,
    DisputePolicy,
    DisputeState,
    keeps_paused,
    stops_charges,
)
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    DisputeKey,
    DisputeName,
    MandateId,
    MandateKey,
    MerchantId,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _StateTotalRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    state: DisputeState
    amount_minor: int


class _OfMandateRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    mandate: MandateId
    state: DisputeState
    charging: ChargingPolicy | None


_INSERT = Query(
    """
    INSERT INTO disputes (merchant, customer, charge, dispute, provider, provider_dispute, mandate,
                          amount_minor, currency, reason, state, open_time, update_time,
                          evidence_due_time, withdraw_time, reinstate_time, fee_minor, fee_currency,
                          close_time, late_failure)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:dispute AS text[]), CAST(:provider AS text[]), CAST(:provider_dispute AS text[]),
        CAST(:mandate AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:reason AS text[]), CAST(:state AS text[]), CAST(:open_time AS timestamptz[]),
        CAST(:update_time AS timestamptz[]), CAST(:evidence_due_time AS timestamptz[]),
        CAST(:withdraw_time AS timestamptz[]), CAST(:reinstate_time AS timestamptz[]),
        CAST(:fee_minor AS bigint[]), CAST(:fee_currency AS text[]),
        CAST(:close_time AS timestamptz[]), CAST(:late_failure AS boolean[]))
    ON CONFLICT (customer, merchant, dispute) DO NOTHING
    RETURNING merchant, customer, dispute
""",
    DisputeKey,
)

_SAVE = Command("""
    UPDATE disputes SET
        amount_minor = new.amount_minor, reason = new.reason, state = new.state,
        update_time = new.update_time, evidence_due_time = new.evidence_due_time,
        withdraw_time = new.withdraw_time, reinstate_time = new.reinstate_time,
        fee_minor = new.fee_minor, fee_currency = new.fee_currency, close_time = new.close_time,
        response = new.response, response_time = new.response_time,
        response_send_time = new.response_send_time, response_failure = new.response_failure,
        evidence = new.evidence, send_count = new.send_count, next_send_time = new.next_send_time
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:dispute AS text[]),
        CAST(:amount_minor AS bigint[]), CAST(:reason AS text[]), CAST(:state AS text[]),
        CAST(:update_time AS timestamptz[]), CAST(:evidence_due_time AS timestamptz[]),
        CAST(:withdraw_time AS timestamptz[]), CAST(:reinstate_time AS timestamptz[]),
        CAST(:fee_minor AS bigint[]), CAST(:fee_currency AS text[]),
        CAST(:close_time AS timestamptz[]), CAST(:response AS text[]),
        CAST(:response_time AS timestamptz[]), CAST(:response_send_time AS timestamptz[]),
        CAST(:response_failure AS text[]), CAST(:evidence AS bytea[]),
        CAST(:send_count AS integer[]), CAST(:next_send_time AS timestamptz[]))
      AS new (merchant, customer, dispute, amount_minor, reason, state, update_time,
              evidence_due_time, withdraw_time, reinstate_time, fee_minor, fee_currency, close_time,
              response, response_time, response_send_time, response_failure, evidence, send_count,
              next_send_time)
    WHERE disputes.customer = new.customer AND disputes.merchant = new.merchant
      AND disputes.dispute = new.dispute
""")

# In the order of their keys, so that two batches never wait for each other.
_LOCKED = Query(
    """
    SELECT merchant, customer, charge, dispute, provider, provider_dispute, mandate, amount_minor,
           currency, reason, state, open_time, update_time, evidence_due_time, withdraw_time,
           reinstate_time, fee_minor, fee_currency, close_time, response, response_time,
           response_send_time, response_failure, evidence, send_count, late_failure
    FROM disputes
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:dispute AS text[]))
      AS wanted (customer, merchant, dispute) USING (customer, merchant, dispute)
    ORDER BY merchant, customer, dispute FOR UPDATE OF disputes
""",
    Dispute,
)

_BY_NAME = Query(
    """
    SELECT merchant, customer, charge, dispute, provider, provider_dispute, mandate, amount_minor,
           currency, reason, state, open_time, update_time, evidence_due_time, withdraw_time,
           reinstate_time, fee_minor, fee_currency, close_time, response, response_time,
           response_send_time, response_failure, evidence, send_count, late_failure
    FROM disputes WHERE merchant = :merchant AND dispute = :dispute
""",
    Dispute,
)

_OF_MERCHANT = Query(
    """
    SELECT merchant, customer, charge, dispute, provider, provider_dispute, mandate, amount_minor,
           currency, reason, state, open_time, update_time, evidence_due_time, withdraw_time,
           reinstate_time, fee_minor, fee_currency, close_time, response, response_time,
           response_send_time, response_failure, evidence, send_count, late_failure
    FROM disputes
    WHERE merchant = :merchant AND dispute > :after
      AND (CAST(:state AS text) = '' OR state = :state)
      AND (CAST(:charge AS text) = '' OR (customer = :customer AND charge = :charge))
    ORDER BY dispute LIMIT :limit
""",
    Dispute,
)

_DUE = Query(
    """
    SELECT merchant, customer, charge, dispute, provider, provider_dispute, mandate, amount_minor,
           currency, reason, state, open_time, update_time, evidence_due_time, withdraw_time,
           reinstate_time, fee_minor, fee_currency, close_time, response, response_time,
           response_send_time, response_failure, evidence, send_count, late_failure
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT customer, merchant, dispute FROM disputes
            WHERE provider = :provider AND bucket = leased.bucket AND next_send_time <= :now
              AND merchant || '/' || customer || '/' || dispute <> ALL(CAST(:left_out AS text[]))
            ORDER BY next_send_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN disputes USING (customer, merchant, dispute)
""",
    Dispute,
)

_TOTALS = Query(
    """
    SELECT merchant, customer, charge, state, CAST(sum(amount_minor) AS bigint) AS amount_minor
    FROM disputes
    WHERE customer = :customer AND merchant = :merchant AND charge = :charge
    GROUP BY merchant, customer, charge, state
""",
    _StateTotalRow,
)

_OF_MANDATES = Query(
    """
    SELECT wanted.merchant, wanted.customer, wanted.mandate, disputed.state, charging
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS wanted (customer, merchant, mandate)
    CROSS JOIN LATERAL (
        SELECT DISTINCT state FROM disputes
        WHERE disputes.customer = wanted.customer AND disputes.merchant = wanted.merchant
          AND disputes.mandate = wanted.mandate AND disputes.mandate <> '' OFFSET 0) AS disputed
    LEFT JOIN dispute_policies ON dispute_policies.merchant = wanted.merchant
""",
    _OfMandateRow,
)

# Whoever resumes a mandate by hand ends the pause that a lost dispute has left.
_LOST_SINCE_PAUSE = Query(
    """
    SELECT merchant, customer, mandate, lost.state, charging
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:mandate AS text[]))
      AS wanted (customer, merchant, mandate)
    JOIN mandates USING (customer, merchant, mandate)
    CROSS JOIN LATERAL (
        SELECT DISTINCT state FROM disputes
        WHERE disputes.customer = mandates.customer AND disputes.merchant = mandates.merchant
          AND disputes.mandate = mandates.mandate AND disputes.mandate <> ''
          AND state || '' = 'LOST' AND NOT late_failure AND close_time >= pause_time OFFSET 0) AS lost
    LEFT JOIN dispute_policies USING (merchant)
""",
    _OfMandateRow,
)

_POLICY = Query(
    "SELECT merchant, charging, version FROM dispute_policies WHERE merchant = :merchant",
    DisputePolicy,
)

_ENSURE_POLICY = Command("""
    INSERT INTO dispute_policies (merchant, charging, version)
    VALUES (:merchant, :charging, :version) ON CONFLICT (merchant) DO NOTHING
""")

_LOCKED_POLICY = Query(
    """
    SELECT merchant, charging, version FROM dispute_policies WHERE merchant = :merchant FOR UPDATE
""",
    DisputePolicy,
)

_CHANGE_POLICY = Query(
    """
    UPDATE dispute_policies SET charging = :charging, version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, charging, version
""",
    DisputePolicy,
)


async def insert(tx: Connection, disputes: Collection[Dispute]) -> set[DisputeKey]:
    """Add disputes; returns which were new."""
    return set(await _INSERT.all_for(tx, disputes))


async def save(
    tx: Connection, disputes: Sequence[Dispute], next_send_times: Sequence[datetime | None]
) -> None:
    """Write disputes whose rows are locked, and when the response of each is to be sent."""
    await _SAVE.run_for(tx, disputes, next_send_time=next_send_times)


async def locked(tx: Connection, keys: Iterable[DisputeKey]) -> dict[DisputeKey, Dispute]:
    """Those of the disputes that exist, locked until the transaction ends."""
    return {dispute.key: dispute for dispute in await _LOCKED.all_for(tx, set(keys))}


async def by_name(tx: Connection, name: DisputeName) -> Dispute | None:
    """A merchant's dispute; None if there is none of this name."""
    return await _BY_NAME.one_or_none(tx, **name._asdict())


async def of_merchant(
    tx: Connection,
    merchant: MerchantId,
    state: str,
    charge: ChargeKey | None,
    after: str,
    limit: int,
) -> list[Dispute]:
    """A merchant's disputes by id, after an id; of one state or charge, if that is wanted."""
    return await _OF_MERCHANT.all(
        tx,
        merchant=merchant,
        state=state,
        customer=charge.customer if charge else "",
        charge=charge.charge if charge else "",
        after=after,
        limit=limit,
    )


async def due(
    tx: Connection,
    provider: str,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[DisputeKey],
) -> list[Dispute]:
    """A batch of a provider's disputes whose response is to be sent now, but for some."""
    keys = ["/".join(key) for key in left_out]
    return await _DUE.all(
        tx, provider=provider, buckets=buckets, now=now, limit=limit, left_out=keys
    )


async def totals_minor(tx: Connection, charge: ChargeKey) -> dict[DisputeState, int]:
    """What is disputed of a charge, by state."""
    rows = await _TOTALS.all(tx, **charge._asdict())
    return {row.state: row.amount_minor for row in rows}


async def stopped(tx: Connection, mandates: Iterable[MandateKey]) -> set[MandateKey]:
    """Those of the mandates under which nothing is charged, since a charge under them is disputed."""
    return _where(await _OF_MANDATES.all_for(tx, set(mandates)), stops_charges)


async def lost_since_pause(tx: Connection, mandates: Iterable[MandateKey]) -> set[MandateKey]:
    """Those of the mandates that are kept paused by a dispute that was lost since they are paused."""
    return _where(await _LOST_SINCE_PAUSE.all_for(tx, set(mandates)), keeps_paused)


def _where(
    rows: Iterable[_OfMandateRow], holds: Callable[[DisputeState, ChargingPolicy], bool]
) -> set[MandateKey]:
    """The mandates with a dispute of which that holds by its merchant's policy."""
    return {
        MandateKey(row.merchant, row.customer, row.mandate)
        for row in rows
        if holds(row.state, row.charging or DisputePolicy(row.merchant).charging)
    }


async def policy(tx: Connection, merchant: MerchantId, *, lock: bool = False) -> DisputePolicy:
    """A merchant's policy, or the one that holds where none was set; locked if asked for."""
    standard = DisputePolicy(merchant)
    if not lock:
        return await _POLICY.one_or_none(tx, merchant=merchant) or standard
    # There must be a row to lock.
    await _ENSURE_POLICY.run(
        tx, merchant=merchant, charging=standard.charging, version=standard.version
    )
    return await _LOCKED_POLICY.one(tx, merchant=merchant)


async def change_policy(tx: Connection, wanted: DisputePolicy) -> DisputePolicy:
    """Store what a caller's change made of a policy that is locked."""
    return await _CHANGE_POLICY.one(tx, merchant=wanted.merchant, charging=wanted.charging)
