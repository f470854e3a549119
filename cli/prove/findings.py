"""What a proof came to: a verdict on each clause, and each thing that breaks one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cli.prove.clauses import Clause

# So many violations of a clause are named.
NAMED_MAX = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that breaks a clause."""

    merchant: str
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one clause stands."""

    clause: Clause
    # How many rows the clause is about.
    checked: int
    violations: tuple[Finding, ...]
    # Differences between two databases about which an event is on its way.
    in_motion: int = 0
    # What was compared, by what identifies it: a count, sums by currency, a hash.
    digests: Mapping[str, str | int | Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the snapshot of one database stands."""

    read_time: datetime
    # PostgreSQL's own, `xmin:xmax:` and the transactions between that were running.
    snapshot: str
    # Of the last event in the outbox.
    event_position: int


@dataclass(frozen=True, slots=True)
class Report:
    """A whole proof."""

    # By the customers' clock.
    moment: datetime
    # The one merchant that it is about; empty: all.
    merchant: str
    full: bool
    positions: Mapping[str, Position]
    verdicts: tuple[Verdict, ...]

    @property
    def violations(self) -> list[str]:
        """Each violation in words, by its clause."""
        return [
            f"{verdict.clause.id}: {finding.what}"
            for verdict in self.verdicts
            for finding in verdict.violations
        ]

    @property
    def broken(self) -> set[str]:
        """The ids of the clauses that do not hold."""
        return {verdict.clause.id for verdict in self.verdicts if verdict.violations}
