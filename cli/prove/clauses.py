"""What a clause is: a promise, and the statements on views that find where it was broken.

A clause about one database is one statement that returns what breaks it, so that nothing is shipped
when nothing is wrong. A clause about two databases compares digests of what each of them says (view
`compared`), and rows only where the digests differ.

Every statement may use these parameters:

| parameter | meaning |
|---|---|
| `$1` | the one merchant that the proof is about; empty: all |
| `$2` | the time of the customers' clock |
| `$3` | the time of the database's own clock |

In a statement, `UNSETTLED(column)` is the condition that the day of a time is not settled (settled.py),
`UNSETTLED_OR_LATER(column)` that this or an earlier day is not, and `UNSETTLED_MONTH(column)` that a
day of its month is not. A full proof reads all days. Where it has shown by hashes which parts of two
tables differ, `DIFFERING(column)` is the condition that a key is in one of these.

Two transactions that race for one row each took their time before they got its lock. So what they say
may be the wrong way round by as much as a step lasts: 30 seconds, since the longest step of the suite
is cut off sooner (services/runtime/db/leases.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

_PARTS = 1024


def part_of(key: str) -> str:
    """The part that the rows of a key are in."""
    return f"(hashtextextended({key}, 0) & {_PARTS - 1})"


def differing(left: str, right: str) -> str:
    """The parts in which two statements do not say the same.

    Each returns `key` and `hash`, 64 bits of all that is to be the same. To sum these costs a fraction
    of what it costs to join the rows.
    """
    return f"""
    , differing AS MATERIALIZED (
        SELECT part
        FROM (
            SELECT {part_of("key")} AS part, hash AS left_hash, NULL::bigint AS right_hash
            FROM ({left}) AS left_rows
            UNION ALL
            SELECT {part_of("key")}, NULL, hash FROM ({right}) AS right_rows
        ) AS hashed
        GROUP BY part HAVING sum(left_hash) IS DISTINCT FROM sum(right_hash))
    """  # noqa: S608 - statements of our own


@dataclass(frozen=True, slots=True)
class Clause:
    """A promise by its name."""

    id: str
    # What holds, as one sentence.
    promise: str


@dataclass(frozen=True, slots=True)
class LocalClause(Clause):
    """A promise that each of the services' databases keeps by itself."""

    services: Sequence[str]
    # Returns one number: how many rows the promise is about.
    checked: str
    # Returns what breaks it: `merchant`, `what` (one sentence).
    violations: str
    # Which digests cover the rows of settled days that a proof leaves out. Empty: it leaves out none,
    # as it is about what is open, or rows of any day may change what is promised.
    settled_by: Sequence[str] = ()
    # Common table expressions, each after a comma, that it may name.
    given: str = ""
    # Those of a proof that leaves out settled days, if they are others.
    given_of_unsettled: str = ""


@dataclass(frozen=True, slots=True)
class JointClauses:
    """Promises about the same rows: one statement a database reads them for all."""

    clauses: Sequence[Clause]
    services: Sequence[str]
    # As of a LocalClause.
    checked: str
    # Returns what breaks one of them: `clause`, `merchant`, `what`.
    violations: str
    settled_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Agreement(Clause):
    """A promise that two services say the same: what their views `compared` have of the clause."""

    left: str
    right: str
    # Of the right side's service: the products that the left side is compared about; empty: all.
    products: str = ""
    # Facts that begin so, the right side may have by itself, where a statement of the left side's
    # service returns the first word of the subject as `subject`.
    spare_facts: str = ""
    spare_subjects: str = ""
