"""How many deliveries there are, by what they are and what they cost."""

from collections.abc import Collection
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from services.notify.domain.notices import MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class Dimension(StrEnum):
    """By what deliveries are counted."""

    DAY = "DAY"
    CHANNEL = "CHANNEL"
    REGION = "REGION"
    KIND = "KIND"
    STATE = "STATE"


class StatisticsKey(NamedTuple):
    """Of what a row is; what it is not counted by is empty."""

    day: date
    channel: str
    region_code: str
    kind: str
    state: str


# What a row is of that is not counted by days.
ANY_DAY = date.min
BEFORE_ALL = StatisticsKey(ANY_DAY, "", "", "", "")


class StatisticsRow(NamedTuple):
    """A count of deliveries, and what they cost in each currency."""

    day: date
    channel: str
    region_code: str
    kind: str
    state: str
    delivery_count: int
    segment_count: int
    cost_currencies: list[str]
    costs_micros: list[int]

    @property
    def key(self) -> StatisticsKey:
        """Of what it is."""
        return StatisticsKey(*self[:5])


class Period(NamedTuple):
    """Days of UTC."""

    start_date: date
    # Included.
    end_date: date


_OF_DAYS = Query(
    """
    SELECT day, channel, region_code, kind, state,
           CAST(sum(delivery_count) AS bigint) AS delivery_count,
           CAST(sum(segment_count) AS bigint) AS segment_count,
           coalesce(array_agg(cost_currency ORDER BY cost_currency)
                        FILTER (WHERE cost_micros <> 0), '{}') AS cost_currencies,
           coalesce(array_agg(cost_micros ORDER BY cost_currency)
                        FILTER (WHERE cost_micros <> 0), '{}') AS costs_micros
    FROM (
        SELECT by_what.day, by_what.channel, by_what.region_code, by_what.kind, by_what.state,
               cost_currency, sum(delivery_count) AS delivery_count,
               sum(segment_count) AS segment_count,
               CAST(sum(cost_micros) AS bigint) AS cost_micros
        FROM (
            SELECT day, channel, region_code, kind, state, cost_currency, delivery_count,
                   segment_count, cost_micros
            FROM notice_statistics
            WHERE merchant = :merchant AND day BETWEEN :start_date AND :end_date
            UNION ALL
            SELECT day, channel, region_code, kind, state, cost_currency, delivery_count,
                   segment_count, cost_micros
            FROM notice_statistics_changes
            WHERE merchant = :merchant AND day BETWEEN :start_date AND :end_date) AS counted
        CROSS JOIN LATERAL (
            SELECT CASE WHEN :by_day THEN counted.day ELSE CAST(:any_day AS date) END AS day,
                   CASE WHEN :by_channel THEN counted.channel ELSE '' END AS channel,
                   CASE WHEN :by_region THEN counted.region_code ELSE '' END AS region_code,
                   CASE WHEN :by_kind THEN counted.kind ELSE '' END AS kind,
                   CASE WHEN :by_state THEN counted.state ELSE '' END AS state) AS by_what
        GROUP BY 1, 2, 3, 4, 5, 6) AS sums
    WHERE (day, channel, region_code, kind, state)
        > (CAST(:after_day AS date), :after_channel, :after_region_code, :after_kind, :after_state)
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(delivery_count) <> 0
    ORDER BY 1, 2, 3, 4, 5 LIMIT :limit
""",
    StatisticsRow,
)

# Whoever merges the same rows at this instant waits, and finds them gone.
_MERGE = Command("""
    WITH taken AS (
        DELETE FROM notice_statistics_changes WHERE (merchant, position) IN (
            SELECT merchant, position FROM notice_statistics_changes
            ORDER BY position LIMIT :limit)
        RETURNING merchant, day, channel, region_code, kind, state, cost_currency, delivery_count,
                  segment_count, cost_micros)
    INSERT INTO notice_statistics AS known (merchant, day, channel, region_code, kind, state,
                                            cost_currency, delivery_count, segment_count, cost_micros)
    SELECT merchant, day, channel, region_code, kind, state, cost_currency, sum(delivery_count),
           sum(segment_count), sum(cost_micros)
    FROM taken GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT (merchant, day, channel, region_code, kind, state, cost_currency) DO UPDATE
        SET delivery_count = known.delivery_count + EXCLUDED.delivery_count,
            segment_count = known.segment_count + EXCLUDED.segment_count,
            cost_micros = known.cost_micros + EXCLUDED.cost_micros
""")


async def of_days(
    tx: Connection,
    merchant: MerchantId,
    period: Period,
    dimensions: Collection[Dimension],
    after: StatisticsKey,
    limit: int,
) -> list[StatisticsRow]:
    """What was sent of the notices of some days, in the order of the keys, after a row."""
    return await _OF_DAYS.all(
        tx,
        merchant=merchant,
        **period._asdict(),
        by_day=Dimension.DAY in dimensions,
        by_channel=Dimension.CHANNEL in dimensions,
        by_region=Dimension.REGION in dimensions,
        by_kind=Dimension.KIND in dimensions,
        by_state=Dimension.STATE in dimensions,
        any_day=ANY_DAY,
        **{f"after_{field}": value for field, value in after._asdict().items()},
        limit=limit,
    )


async def merge(tx: Connection, limit: int) -> int:
    """Add a batch of changes to the sums of their days; returns of how many sums they were."""
    return await _MERGE.run(tx, limit=limit)
