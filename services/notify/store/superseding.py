"""Which notices are not true any more, and the voiding of what has not gone out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text

from services.notify.domain.notices import VOID_SUPERSEDED, CustomerKey
from services.notify.domain.superseding import FINAL, SUPERSEDES
from services.runtime.db.pool import Connection, columns


@dataclass(frozen=True, slots=True)
class SubjectFact:
    """Something that happened to what notices are about."""

    key: CustomerKey
    subject_resource: str
    # The name of the event, without its package.
    fact: str
    # The id of the event, which the notice of it has as well.
    notice: str
    occur_time: datetime


_RECORD = text("""
    INSERT INTO superseded_kinds AS known (merchant, customer, subject_resource, kind, before_time)
    SELECT merchant, customer, subject_resource, kind, max(before_time)
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:subject_resource AS text[]),
        CAST(:kind AS text[]), CAST(:before_time AS timestamptz[]), CAST(:is_final AS boolean[]))
      AS fact (merchant, customer, subject_resource, kind, fact_time, is_final)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN is_final THEN 'infinity' ELSE fact_time END AS before_time) AS until
    GROUP BY merchant, customer, subject_resource, kind
    ORDER BY merchant, customer, subject_resource, kind
    ON CONFLICT (customer, merchant, subject_resource, kind) DO UPDATE
        SET before_time = EXCLUDED.before_time
        WHERE known.before_time < EXCLUDED.before_time
""")

# Of one instant, what arrived before.
_OLDER = text("""
    SELECT DISTINCT notices.merchant, notices.customer, notices.notice
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:subject_resource AS text[]),
        CAST(:kind AS text[]), CAST(:before_time AS timestamptz[]), CAST(:notice AS text[]))
      AS fact (merchant, customer, subject_resource, kind, before_time, notice)
    JOIN notices USING (merchant, customer, subject_resource, kind)
    LEFT JOIN notices AS own ON own.customer = fact.customer AND own.merchant = fact.merchant
        AND own.notice = fact.notice
    WHERE notices.notice <> fact.notice
      AND (notices.occur_time < fact.before_time
           OR (notices.occur_time = fact.before_time
               AND (own.position IS NULL OR notices.position < own.position)))
""")

_SUPERSEDED = text("""
    SELECT notices.merchant, notices.customer, notices.notice
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
      AS asked (merchant, customer, notice)
    JOIN notices USING (merchant, customer, notice)
    JOIN superseded_kinds USING (merchant, customer, subject_resource, kind)
    WHERE notices.occur_time < superseded_kinds.before_time
""")

# The notice's row first, as whoever stores what attempts came to locks it.
_VOID = text("""
    WITH voided AS (
        UPDATE notices SET outcome = coalesce(outcome, 'VOIDED')
        FROM (
            SELECT customer, merchant, notice FROM notices
            JOIN unnest(
                CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]))
              AS asked (merchant, customer, notice) USING (merchant, customer, notice)
            WHERE EXISTS (
                SELECT FROM deliveries
                WHERE deliveries.customer = notices.customer
                  AND deliveries.merchant = notices.merchant
                  AND deliveries.notice = notices.notice AND deliveries.state = 'PENDING')
            ORDER BY customer, merchant, notice FOR UPDATE OF notices) AS stale
        WHERE notices.customer = stale.customer AND notices.merchant = stale.merchant
          AND notices.notice = stale.notice
        RETURNING notices.customer, notices.merchant, notices.notice)
    UPDATE deliveries SET state = 'VOIDED', failure_code = :reason, secret_text = NULL
    FROM voided
    WHERE deliveries.customer = voided.customer AND deliveries.merchant = voided.merchant
      AND deliveries.notice = voided.notice AND deliveries.state = 'PENDING'
""")


async def supersede(tx: Connection, facts: Sequence[SubjectFact]) -> None:
    """Void what facts make untrue, and keep them for notices that arrive after them.

    Comes after the facts' own notices are stored, in their transaction.
    """
    rows = [
        {
            "merchant": fact.key.merchant,
            "customer": fact.key.customer,
            "subject_resource": fact.subject_resource,
            "kind": kind,
            "before_time": fact.occur_time,
            "is_final": fact.fact in FINAL,
            "notice": fact.notice,
        }
        for fact in facts
        for kind in sorted(SUPERSEDES.get(fact.fact, ()))
    ]
    if rows:
        names = ("merchant", "customer", "subject_resource", "kind", "before_time")
        await tx.execute(_RECORD, columns(rows, *names, "is_final"))
        await _void(tx, await _keys(tx, _OLDER, columns(rows, *names, "notice")))
    own = [
        {"merchant": f.key.merchant, "customer": f.key.customer, "notice": f.notice} for f in facts
    ]
    await _void(tx, await _keys(tx, _SUPERSEDED, columns(own, "merchant", "customer", "notice")))


async def void_superseded(
    tx: Connection, asked: Sequence[tuple[CustomerKey, str]]
) -> set[tuple[CustomerKey, str]]:
    """Void those of the notices that a later fact has made untrue; returns them."""
    rows = [{"merchant": k.merchant, "customer": k.customer, "notice": n} for k, n in asked]
    found = await _keys(tx, _SUPERSEDED, columns(rows, "merchant", "customer", "notice"))
    await _void(tx, found)
    return set(found)


async def _keys(
    tx: Connection, statement: TextClause, values: Mapping[str, Any]
) -> list[tuple[CustomerKey, str]]:
    rows = await tx.execute(statement, values)
    return [(CustomerKey(row.merchant, row.customer), row.notice) for row in rows]


async def _void(tx: Connection, stale: Sequence[tuple[CustomerKey, str]]) -> None:
    if not stale:
        return
    rows = [{"merchant": k.merchant, "customer": k.customer, "notice": n} for k, n in stale]
    values = columns(rows, "merchant", "customer", "notice")
    await tx.execute(_VOID, {**values, "reason": VOID_SUPERSEDED})
