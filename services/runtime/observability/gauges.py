"""What operators watch: gauges that one cheap statement gives, read at an interval on every replica.

Each replica sees the same database, so a dashboard takes the largest value of a service's replicas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import TextClause


@dataclass(frozen=True, slots=True)
class Gauge:
    """One number that operators watch."""

    name: str
    unit: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GaugeQuery:
    """A statement whose one row has a number for each gauge.

    It is given `now`, `since` (somewhat before the last look) and `limit` (where counting stops), and
    must be cheap however many rows there are: by an index, and bounded.
    """

    statement: TextClause
    # Column -> its gauge.
    gauges: Mapping[str, Gauge]


def count_of(rows: str) -> str:
    """The scalar subquery that counts rows of `FROM … WHERE …`, as far as counting goes."""
    return f"(SELECT count(*) FROM (SELECT {rows} LIMIT :limit) AS counted)"  # noqa: S608


def lateness_of(moment: str) -> str:
    """The seconds since a moment (a scalar subquery); 0 where there is none or it is yet to come."""
    return f"coalesce(greatest(extract(epoch FROM CAST(:now AS timestamptz) - {moment}), 0), 0)"
