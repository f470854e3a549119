"""What a clause is: a promise, and the statements on views that find where it was broken.

A clause about one database is one statement that returns what breaks it, so that nothing is shipped
when nothing is wrong. A clause about two databases compares digests of what each of them says,
partition by partition, and rows only where the digests differ.

Every statement may use these parameters:

| parameter | meaning |
|---|---|
| `$1` | the one merchant that the proof is about; empty: all |
| `$2` | the time of the customers' clock |
| `$3` | the time of the database's own clock |

Two transactions that race for one row each took their time before they got its lock. So what they say
may be the wrong way round by as much as a step lasts: 30 seconds, since the longest step of the suite
is cut off sooner (services/runtime/db/leases.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass


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
    # Common table expressions, each after a comma, that it may name.
    given: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """What one service says.

    The statement returns `merchant`, `part` (which partition; the same on both sides), `subject`
    (unique), `about` (names of the resources that an event about it is about), `currency`,
    `amount_minor` and `facts`; all but the first two and `about` are compared.
    """

    service: str
    sql: str


@dataclass(frozen=True, slots=True)
class Agreement(Clause):
    """A promise that two services say the same."""

    left: Side
    right: Side
    # Of the right side's service: pairs that the left side's statement has as `$4` and `$5`.
    pairs: str = ""
    # Facts that begin so, the right side may have by itself, where a statement of the left side's
    # service returns the first word of the subject as `subject`.
    spare_facts: str = ""
    spare_subjects: str = ""
