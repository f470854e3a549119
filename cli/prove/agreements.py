"""Two databases compared: digests of each partition first, rows only where these differ."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cli.prove.clauses import Agreement, Side
from cli.prove.findings import NAMED_MAX, Finding, Verdict
from cli.prove.moment import Moment

_HASH_MODULUS = 2**64
_NO_PAIRS: tuple[list[str], list[str]] = ([], [])
# The sum does not depend on the order of the rows; a hash is 64 bits of all that is compared.
_DIGEST = """
    SELECT merchant, part, currency, count(*) AS count, sum(amount_minor)::numeric AS sum_minor,
           sum(hashtextextended(
               concat_ws('|', subject, currency, amount_minor, facts), 0)::numeric) AS hash
    FROM compared WHERE cardinality($4::text[]) = cardinality($5::text[])
    GROUP BY merchant, part, currency
"""
_ROWS = """
    SELECT merchant, part, subject, about, currency, amount_minor, facts
    FROM compared WHERE cardinality($4::text[]) = cardinality($5::text[])
      AND (merchant, part) IN (SELECT * FROM unnest($6::text[], $7::text[]))
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


async def judge_agreement(moment: Moment, clause: Agreement, in_motion: frozenset[str]) -> Verdict:
    """How an agreement stands; differences about what is in motion are only counted."""
    pairs = await _pairs(moment, clause)
    left, right = await asyncio.gather(
        _digests(moment, clause.left, pairs), _digests(moment, clause.right, pairs)
    )
    differing = sorted(
        {key[:2] for key in left.keys() | right.keys() if left.get(key) != right.get(key)}
    )
    findings, moving = [], 0
    if differing:
        compared = await asyncio.gather(
            _said(moment, clause.left, pairs, differing),
            _said(moment, clause.right, pairs, differing),
        )
        spare = await _spare(moment, clause, compared[1])
        for subject, about, finding in _differences(clause, *compared):
            if subject in spare and subject not in compared[0]:
                continue
            if about & in_motion:
                moving += 1
            else:
                findings.append(finding)
    checked = sum(digest.row_count for digest in left.values())
    return Verdict(clause, checked, tuple(findings[:NAMED_MAX]), moving, _summed(left))


async def _pairs(moment: Moment, clause: Agreement) -> tuple[list[str], list[str]]:
    if not clause.pairs:
        return _NO_PAIRS
    rows = await moment.rows(clause.right.service, clause.pairs)
    return [row[0] for row in rows], [row[1] for row in rows]


async def _digests(
    moment: Moment, side: Side, pairs: tuple[list[str], list[str]]
) -> dict[Key, Digest]:
    rows = await moment.rows(side.service, f", compared AS ({side.sql}) {_DIGEST}", *pairs)
    return {
        (row["merchant"], row["part"], row["currency"]): Digest(
            row["count"], int(row["sum_minor"]), int(row["hash"]) % _HASH_MODULUS
        )
        for row in rows
    }


async def _said(
    moment: Moment,
    side: Side,
    pairs: tuple[list[str], list[str]],
    parts: Sequence[tuple[str, str]],
) -> dict[str, Said]:
    """What a side says of each subject in some partitions; of one that it has twice, both."""
    merchants, names = [merchant for merchant, _ in parts], [name for _, name in parts]
    rows = await moment.rows(
        side.service, f", compared AS ({side.sql}) {_ROWS}", *pairs, merchants, names
    )
    facts: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        facts[row["subject"]].append(row)
    return {
        subject: Said(
            found[0]["merchant"],
            frozenset(name for row in found for name in row["about"]),
            " and ".join(sorted(_facts(row) for row in found)),
        )
        for subject, found in facts.items()
    }


async def _spare(moment: Moment, clause: Agreement, right: Mapping[str, Said]) -> set[str]:
    """The subjects that the right side may have by itself."""
    alone = {s for s, said in right.items() if said.facts.startswith(clause.spare_facts)}
    if not clause.spare_subjects or not alone:
        return set()
    rows = await moment.rows(clause.left.service, clause.spare_subjects)
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
        what = (
            f"{subject}: {clause.left.service} says {facts[0]}, {clause.right.service} {facts[1]}"
        )
        about = frozenset(name for each in known for name in each.about)
        found.append((subject, about, Finding(known[0].merchant, what)))
    return found


def _facts(row: Any) -> str:  # noqa: ANN401 - a row of a statement
    amount = f"{row['amount_minor']} {row['currency']} " if row["currency"] else ""
    return f"{amount}{row['facts']}"


def _summed(digests: Mapping[Key, Digest]) -> dict[str, str | int | dict[str, int]]:
    """One digest of all partitions."""
    sums: dict[str, int] = defaultdict(int)
    for (_, _, currency), digest in digests.items():
        if currency:
            sums[currency] += digest.sum_minor
    total = sum(digest.hash_sum for digest in digests.values()) % _HASH_MODULUS
    return {
        "count": sum(digest.row_count for digest in digests.values()),
        "sums_minor": dict(sorted(sums.items())),
        "hash": f"{total:016x}",
    }
