"""Gauges whose values come from the database, read at an interval on every replica.

Each replica sees the same database, so a dashboard takes the largest value of a service's replicas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number of which operators see the present value."""

    name: str
    unit: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GaugeQuery:
    """A statement whose one row has a number for each gauge.

    Its parameters are `now` and `limit` (where counting stops). It must be cheap however many rows
    there are: by an index, and bounded.
    """

    sql: str
    # Column -> its gauge.
    gauges: Mapping[str, Gauge]
