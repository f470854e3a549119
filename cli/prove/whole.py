"""What a full proof reads of each database, once: all rows that are digested, summed by day.

By it days of two services are compared, and what is there with what was kept of settled days.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from cli.connect import SERVICES
from cli.prove.clauses import Agreement, Clause
from cli.prove.findings import NAMED_MAX, Finding, Verdict
from cli.prove.moment import Moment
from cli.prove.settled import ALL_PRODUCTS, Kept, Products, Settled, by_day, products_of, same

SETTLED_DAYS_UNCHANGED = Clause(
    "settled-days-unchanged", "What a service said of a day when it was settled, it says still."
)
_KEPT_COUNT = """
    SELECT coalesce(sum(row_count), 0) FROM audit_v1.digests
    WHERE is_settled AND $1 IN ('', merchant)
"""
_WHOLE = f"""
    , present AS MATERIALIZED (
        SELECT clause, merchant, (partition_time AT TIME ZONE 'UTC')::date AS day, product, currency,
               count(*) AS row_count, sum(amount_minor) AS sum_minor,
               sum(audit_v1.row_hash(subject, currency, amount_minor, facts)) AS hash
        FROM audit_v1.digested WHERE $1 IN ('', merchant)
        GROUP BY clause, merchant, day, product, currency),
    changed AS (
        SELECT merchant,
               format('%s of %s: %s rows with a sum of %s %s were kept, and there are %s of %s', clause,
                      day, kept.row_count, kept.sum_minor, currency, coalesce(present.row_count, 0),
                      coalesce(present.sum_minor, 0)) AS what
        FROM audit_v1.digests AS kept
        LEFT JOIN present USING (clause, merchant, day, product, currency)
        WHERE is_settled AND $1 IN ('', merchant)
          -- What ended later than all others of its day may be more.
          AND (coalesce(present.row_count, 0) < kept.row_count
               OR present.row_count = kept.row_count
                  AND (present.sum_minor, present.hash) <> (kept.sum_minor, kept.hash))
        LIMIT {NAMED_MAX})
    SELECT clause, day, currency, sum(row_count)::bigint AS row_count, sum(sum_minor) AS sum_minor,
           sum(hash) AS hash, true AS is_settled, '' AS merchant, '' AS what
    FROM present
    WHERE product = '' OR $4::text[] IS NULL
       OR (merchant, product) IN (SELECT * FROM unnest($4::text[], $5::text[]))
    GROUP BY clause, day, currency
    UNION ALL
    SELECT '', NULL, '', 0, 0, 0, true, merchant, what FROM changed
"""  # noqa: S608 - a number of our own


@dataclass(frozen=True, slots=True)
class _Whole:
    """One database: its days by clause, and what is not as it was kept."""

    days: Mapping[str, Mapping[date, Kept]]
    changed: Sequence[Finding]


class WholeDays:
    """All days, by what is in the databases now."""

    def __init__(self, moment: Moment, agreements: Sequence[Agreement]) -> None:
        self._moment = moment
        self._read = {
            service: asyncio.ensure_future(_read(moment, service, agreements))
            for service in SERVICES
        }

    async def of_both(self, clause: Agreement, _products: Products) -> Settled:
        """The days of which both services say the same."""
        left, right = await self._read[clause.left], await self._read[clause.right]
        of_left, of_right = left.days[clause.id], right.days[clause.id]
        agreed = same(of_left, of_right)
        return Settled(agreed, others=frozenset((of_left.keys() | of_right.keys()) - agreed.keys()))

    async def judge_settled(self) -> list[Verdict]:
        """Whether what was kept of settled days is there still."""
        changed, checked = [], 0
        for service, read in self._read.items():
            checked += await self._moment.count(service, _KEPT_COUNT)
            found = (await read).changed
            changed += [Finding(each.merchant, f"{service}: {each.what}") for each in found]
        return [Verdict(SETTLED_DAYS_UNCHANGED, checked, tuple(changed[:NAMED_MAX]))]


async def _read(moment: Moment, service: str, agreements: Sequence[Agreement]) -> _Whole:
    products = ALL_PRODUCTS
    for clause in agreements:
        if clause.left == service and clause.products:
            products = await products_of(moment, clause)
    by_clause: dict[str, list[Any]] = defaultdict(list)
    for row in await moment.rows(service, _WHOLE, *products):
        by_clause[row["clause"]].append(row)
    changed = [Finding(row["merchant"], row["what"]) for row in by_clause.pop("", [])]
    days = {clause: by_day(rows)[0] for clause, rows in by_clause.items()}
    return _Whole(defaultdict(dict, days), changed)
