"""Settled days: what each service kept of them is compared in place of their rows.

A service keeps digests of a day (table `proof_digests`), which is settled once nothing of it is open.
Where two services kept the same of a settled day, its rows are not read again; nor are they for a
clause about one database, which is judged of a day until it is settled. A full proof reads all rows,
and compares them with what was kept.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Protocol

from cli.prove.clauses import Agreement, part_of
from cli.prove.moment import Moment

# Days of which digests were made: nothing was there of those that have none.
_EMPTY_DAYS = """
    , empty_day AS (
        SELECT day FROM audit_v1.digest_progress,
                        generate_series(from_date, through_date, interval '1 day') AS day)
"""
_KEPT = f"""
    {_EMPTY_DAYS}
    SELECT day, currency, sum(row_count)::bigint AS row_count, sum(sum_minor) AS sum_minor,
           sum(hash) AS hash, bool_and(is_settled) AS is_settled
    FROM audit_v1.digests
    WHERE clause = $4 AND $1 IN ('', merchant)
      AND ($5::text[] IS NULL OR (merchant, product) IN (SELECT * FROM unnest($5::text[], $6::text[])))
    GROUP BY day, currency
    UNION ALL
    SELECT day::date, '', 0, 0, 0, true FROM empty_day
"""  # noqa: S608 - a query of our own
# A day is settled if all digests of it are that cover rows of a clause.
_OWN = f"""
    {_EMPTY_DAYS}
    SELECT day, '' AS currency, 0 AS row_count, 0 AS sum_minor, 0 AS hash,
           bool_and(is_settled) AS is_settled
    FROM audit_v1.digests WHERE clause = ANY($4::text[]) AND $1 IN ('', merchant)
    GROUP BY day
    UNION ALL
    SELECT day::date, '', 0, 0, 0, true FROM empty_day
"""  # noqa: S608 - a query of our own
_ONE_DAY = timedelta(days=1)
_LEFT_OUT = re.compile(r"(UNSETTLED[A-Z_]*)\(([a-z_.]+)\)")
_DIFFERING = re.compile(r"DIFFERING\(([a-z_.]+)\)")

# Merchants and products, side by side; None: all.
Products = tuple[Sequence[str] | None, Sequence[str] | None]
ALL_PRODUCTS: Products = (None, None)
# A count, a sum and a hash, by currency.
Kept = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Settled:
    """What was kept of days that are settled, by two services the same."""

    days: Mapping[date, Kept] = field(default_factory=dict)
    # Days of which something was open when their digests were made.
    open_days: frozenset[date] = frozenset()
    # The only other days that there are; None: that is not known.
    others: frozenset[date] | None = None

    def other_time(self, column: str) -> str:
        """The condition that a column is in no such day."""
        if self.others is not None:
            of_days = [
                f"{column} >= '{day}' AND {column} < '{day + _ONE_DAY}'"
                for day in sorted(self.others)
            ]
            return " OR ".join(of_days) or "false"
        begins, ends = ["-infinity"], []
        for day in sorted(self.days):
            if begins[-1] == str(day):
                begins.pop()
            else:
                ends.append(str(day))
            begins.append(str(day + timedelta(days=1)))
        spans = zip(begins, [*ends, "infinity"], strict=True)
        return " OR ".join(f"{column} >= '{begin}' AND {column} < '{end}'" for begin, end in spans)

    def restrict(self, statement: str) -> str:
        """A statement of a clause, of the days alone that are not settled."""
        conditions = {
            "UNSETTLED": self.other_time,
            "UNSETTLED_OR_LATER": self._following_time,
            "UNSETTLED_MONTH": self._other_month,
        }

        def condition(found: re.Match[str]) -> str:
            return f"({conditions[found[1]](found[2])})" if self.days else "true"

        def differing(found: re.Match[str]) -> str:
            return "true" if self.days else f"{part_of(found[1])} IN (TABLE differing)"

        return _DIFFERING.sub(differing, _LEFT_OUT.sub(condition, statement))

    def _following_time(self, column: str) -> str:
        """The condition that a column is on the first day that is not settled, or later."""
        first = min([max(self.days) + timedelta(days=1), *self.open_days])
        return f"{column} >= '{first}'"

    def _other_month(self, column: str) -> str:
        """The condition that a column is in a month, of any zone, with a day that is not settled."""
        following = max(self.days) + _ONE_DAY
        earlier = [day for day in self.open_days if day < following]
        # A day has instants of the local days before and after it, and so has a month.
        months = {(day + by).replace(day=1) for day in earlier for by in (-_ONE_DAY, _ONE_DAY)}
        spans = [
            f"{column} >= '{month - _ONE_DAY}'"
            f" AND {column} < CAST('{month}' AS timestamptz) + interval '1 month 1 day'"
            for month in sorted(months)
        ]
        first = (following - _ONE_DAY).replace(day=1) - _ONE_DAY
        return " OR ".join([f"{column} >= '{first}'", *spans])


async def read_own_settled(moment: Moment, service: str, clauses: Sequence[str]) -> Settled:
    """The days that digests of one service say to be settled."""
    rows = await moment.rows(service, _OWN, list(clauses))
    return Settled(*by_day(rows))


async def products_of(moment: Moment, clause: Agreement) -> Products:
    """The products that the left side of an agreement is compared about."""
    if not clause.products:
        return ALL_PRODUCTS
    rows = await moment.rows(clause.right, clause.products)
    return [row[0] for row in rows], [row[1] for row in rows]


class Days(Protocol):
    """What two services say of whole days."""

    async def of_both(self, clause: Agreement, products: Products) -> Settled:
        """The days of which both say the same."""


@dataclass(frozen=True, slots=True)
class KeptDays:
    """What was kept of days: it is compared without reading their rows."""

    moment: Moment

    async def of_both(self, clause: Agreement, products: Products) -> Settled:
        """The days of which both services kept the same."""
        left, right = await asyncio.gather(
            self.moment.rows(clause.left, _KEPT, clause.id, *products),
            self.moment.rows(clause.right, _KEPT, clause.id, *ALL_PRODUCTS),
        )
        (of_left, open_left), (of_right, open_right) = by_day(left), by_day(right)
        open_days = open_left | open_right
        return Settled(_without(same(of_left, of_right), open_days), open_days)


def same(left: Mapping[date, Kept], right: Mapping[date, Kept]) -> Mapping[date, Kept]:
    """The days of which two services say the same."""
    return {day: kept for day, kept in left.items() if right.get(day) == kept}


def _without(days: Mapping[date, Kept], left_out: frozenset[date]) -> Mapping[date, Kept]:
    return {day: days[day] for day in days.keys() - left_out}


def by_day(rows: Iterable[Mapping[str, Any]]) -> tuple[Mapping[date, Kept], frozenset[date]]:
    """What was kept of days that are settled, and the days that are not."""
    days: dict[date, dict[str, tuple[int, int, int]]] = defaultdict(dict)
    open_days = set()
    for row in rows:
        of_day = days[row["day"]]
        if row["row_count"]:
            digest = (int(row["row_count"]), int(row["sum_minor"]), int(row["hash"]))
            of_day[row["currency"]] = digest
        if not row["is_settled"]:
            open_days.add(row["day"])
    return _without(days, frozenset(open_days)), frozenset(open_days)
