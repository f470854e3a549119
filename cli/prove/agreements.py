"""Two databases compared: digests of each partition first, rows only where these differ."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cli.prove.clauses import Agreement
from cli.prove.findings import NAMED_MAX, Finding, Verdict
from cli.prove.moment import Moment
from cli.prove.settled import ALL_PRODUCTS, Days, Products, Settled, products_of

_HASH_MODULUS = 2**64
# What a service says of a clause in spans of time. Both are ours, and the plan is made for them.
_COMPARED = """
    , compared AS (
        SELECT merchant, (hashtextextended(subject, 0) & 255)::text AS part, subject, customer,
               order_name, currency, amount_minor, facts
        FROM audit_v1.compared
        WHERE clause = '{clause}' AND ({spans}) AND $1 IN ('', merchant)
          AND ($4::text[] IS NULL
               OR (merchant, product) IN (SELECT * FROM unnest($4::text[], $5::text[]))))
"""
# The sum does not depend on the order of the rows; a hash is 64 bits of all that is compared.
_DIGEST = """
    SELECT merchant, part, currency, count(*) AS count, sum(amount_minor)::numeric AS sum_minor,
           sum(audit_v1.row_hash(subject, currency, amount_minor, facts)) AS hash
    FROM compared GROUP BY merchant, part, currency
"""
_ROWS = """
    SELECT merchant, part, subject, currency, amount_minor, facts,
           ARRAY[split_part(CASE order_name WHEN '' THEN subject ELSE order_name END, '/orders/', 1),
                 'merchants/' || merchant || '/customers/' || customer] AS about
    FROM compared WHERE (merchant, part) IN (SELECT * FROM unnest($6::text[], $7::text[]))
"""

# Merchant, partition and currency.
Key = tuple[str, str, str]


class Digest(NamedTuple):
    """What a partition holds, as far as it is compared."""

    row_count: int
    sum_minor: int
    hash_sum: int


@dataclass(frozen=True, slots=True)
class Said:
    """What one side says of one subject."""

    merchant: str
    about: frozenset[str]
    facts: str


async def judge_agreement(
    moment: Moment, clause: Agreement, in_motion: frozenset[str], days: Days
) -> list[Verdict]:
    """How an agreement stands; differences about what is in motion are only counted.

    Days of which both services say the same as a whole are not looked at more closely.
    """
    products = await products_of(moment, clause)
    settled = await days.of_both(clause, products)
    compared = _COMPARED.format(clause=clause.id, spans=settled.other_time("partition_time"))
    left = _Statement(moment, clause.left, compared, products)
    right = _Statement(moment, clause.right, compared, ALL_PRODUCTS)
    digests = await asyncio.gather(left.digests(), right.digests())
    keys = digests[0].keys() | digests[1].keys()
    differing = sorted({key[:2] for key in keys if digests[0].get(key) != digests[1].get(key)})
    findings, moving = [], 0
    if differing:
        said = await asyncio.gather(left.said(differing), right.said(differing))
        spare = await _spare(moment, clause, said[1])
        for subject, about, finding in _differences(clause, *said):
            if subject in spare and subject not in said[0]:
                continue
            if about & in_motion:
                moving += 1
            else:
                findings.append(finding)
    total = _summed(digests[0], settled)
    return [Verdict(clause, total["count"], tuple(findings[:NAMED_MAX]), moving, total)]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Statement:
    """What one service says."""

    moment: Moment
    service: str
    compared: str
    products: Products

    async def digests(self) -> dict[Key, Digest]:
        """What each partition holds."""
        rows = await self._rows(_DIGEST)
        return {
            (row["merchant"], row["part"], row["currency"]): Digest(
                row["count"], int(row["sum_minor"]), int(row["hash"]) % _HASH_MODULUS
            )
            for row in rows
        }

    async def said(self, parts: Sequence[tuple[str, str]]) -> dict[str, Said]:
        """What is said of each subject in some partitions; of one that it has twice, both."""
        names = [merchant for merchant, _ in parts], [part for _, part in parts]
        facts: dict[str, list[Any]] = defaultdict(list)
        for row in await self._rows(_ROWS, *names):
            facts[row["subject"]].append(row)
        return {
            subject: Said(
                found[0]["merchant"],
                frozenset(name for row in found for name in row["about"]),
                " and ".join(sorted(_facts(row) for row in found)),
            )
            for subject, found in facts.items()
        }

    async def _rows(self, sql: str, *more: object) -> list[Any]:
        return await self.moment.rows(self.service, self.compared + sql, *self.products, *more)


async def _spare(moment: Moment, clause: Agreement, right: Mapping[str, Said]) -> set[str]:
    """The subjects that the right side may have by itself."""
    alone = {s for s, said in right.items() if said.facts.startswith(clause.spare_facts)}
    if not clause.spare_subjects or not alone:
        return set()
    rows = await moment.rows(clause.left, clause.spare_subjects)
    allowed = {row["subject"] for row in rows}
    return {subject for subject in alone if subject.partition(" ")[0] in allowed}


def _differences(
    clause: Agreement, left: Mapping[str, Said], right: Mapping[str, Said]
) -> list[tuple[str, frozenset[str], Finding]]:
    found = []
    for subject in sorted(left.keys() | right.keys()):
        said = [left.get(subject), right.get(subject)]
        facts = ["nothing" if each is None else each.facts for each in said]
        if facts[0] == facts[1]:
            continue
        known = [each for each in said if each is not None]
        what = f"{subject}: {clause.left} says {facts[0]}, {clause.right} {facts[1]}"
        about = frozenset(name for each in known for name in each.about)
        found.append((subject, about, Finding(known[0].merchant, what)))
    return found


def _facts(row: Any) -> str:  # noqa: ANN401 - a row of a statement
    amount = f"{row['amount_minor']} {row['currency']} " if row["currency"] else ""
    return f"{amount}{row['facts']}"


def _summed(
    digests: Mapping[Key, Digest], settled: Settled
) -> dict[str, str | int | dict[str, int]]:
    """One digest of all partitions and settled days."""
    parts = [(key[2], digest) for key, digest in digests.items()]
    for kept in settled.days.values():
        parts += [(currency, Digest(*digest)) for currency, digest in kept.items()]
    sums: dict[str, int] = defaultdict(int)
    for currency, digest in parts:
        if currency:
            sums[currency] += digest.sum_minor
    total = sum(digest.hash_sum for _, digest in parts) % _HASH_MODULUS
    return {
        "count": sum(digest.row_count for _, digest in parts),
        "sums_minor": dict(sorted(sums.items())),
        "hash": f"{total:016x}",
    }
