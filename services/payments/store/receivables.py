"""What customers owe, by age, and what became of charges that were declined."""

from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.payments.domain.keys import CustomerId, MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query
from services.runtime.time_zones import zone

# No charge is open so long after it was due: ten retries sixty days apart, sixty days of a request to
# pay and sixty of late payment are 720.
_OPEN_MAX = timedelta(days=1000)


class Receivable(NamedTuple):
    """What a customer owes in one currency, by how many days ago it was due."""

    customer: CustomerId
    currency: str
    charge_count: int
    oldest_due_time: datetime
    amount_minor: int
    current_minor: int
    days_1_to_30_minor: int
    days_31_to_60_minor: int
    days_61_to_90_minor: int
    over_90_days_minor: int


class DunningMeans(StrEnum):
    """How a charge was tried; in the order of pages."""

    FIRST_ATTEMPT = "FIRST_ATTEMPT"
    SAME_METHOD = "SAME_METHOD"
    OTHER_METHOD = "OTHER_METHOD"
    CUSTOMER = "CUSTOMER"
    CREDIT = "CREDIT"


class DunningOutcome(NamedTuple):
    """What became of the attempts of one number and means, in one currency and by one policy."""

    currency: str
    # Of the policy that followed the first attempt.
    policy_version: int
    attempt_number: int
    means: DunningMeans
    attempt_count: int
    amount_minor: int
    recovered_count: int
    recovered_minor: int
    given_up_count: int
    open_count: int


# A charge that is over stays as it was when it ended.
_RECEIVABLES = Query(
    """
    SELECT customer, currency, count(*) AS charge_count, min(due_time) AS oldest_due_time,
           CAST(sum(amount_minor) AS bigint) AS amount_minor,
           CAST(coalesce(sum(amount_minor) FILTER (
               WHERE due_time >= :current_from_time), 0) AS bigint) AS current_minor,
           CAST(coalesce(sum(amount_minor) FILTER (
               WHERE due_time >= :days_30_from_time AND due_time < :current_from_time), 0) AS bigint)
             AS days_1_to_30_minor,
           CAST(coalesce(sum(amount_minor) FILTER (
               WHERE due_time >= :days_60_from_time AND due_time < :days_30_from_time), 0) AS bigint)
             AS days_31_to_60_minor,
           CAST(coalesce(sum(amount_minor) FILTER (
               WHERE due_time >= :days_90_from_time AND due_time < :days_60_from_time), 0) AS bigint)
             AS days_61_to_90_minor,
           CAST(coalesce(sum(amount_minor) FILTER (
               WHERE due_time < :days_90_from_time), 0) AS bigint) AS over_90_days_minor
    FROM (
        SELECT customer, currency, amount_minor, due_time FROM charges
        WHERE merchant = :merchant AND due_time > :open_since_time AND create_time <= :as_of_time
          AND (state NOT IN ('SUCCEEDED', 'REFUSED', 'ABANDONED') OR update_time > :as_of_time)
    ) AS owed
    WHERE (customer, currency) > (:after_customer, :after_currency)
    GROUP BY customer, currency ORDER BY customer, currency LIMIT :limit
""",
    Receivable,
)

# Of a charge that credit paid after a decline, that is one more attempt.
_DUNNING_OUTCOMES = Query(
    """
    WITH tried AS (
        SELECT of_charge.currency, of_charge.amount_minor, of_charge.state AS charge_state,
               policy_version, attempt.*
        FROM (
            SELECT customer, merchant, charge, payment_method, policy_version FROM attempts
            WHERE merchant = :merchant AND state = 'DECLINED' AND number = 1 AND mandate <> ''
              AND start_time >= :from_time AND start_time < :until_time) AS first
        CROSS JOIN LATERAL (
            SELECT currency, amount_minor, state FROM charges
            WHERE charges.customer = first.customer AND charges.merchant = first.merchant
              AND charges.charge = first.charge
            OFFSET 0) AS of_charge
        CROSS JOIN LATERAL (
            SELECT row_number() OVER by_number AS attempt_number, state,
                   CASE WHEN number = 1 THEN 'FIRST_ATTEMPT' WHEN mandate = '' THEN 'CUSTOMER'
                        WHEN payment_method = first.payment_method THEN 'SAME_METHOD'
                        ELSE 'OTHER_METHOD' END AS means,
                   lead(number) OVER by_number IS NULL AS is_last
            FROM attempts
            WHERE attempts.customer = first.customer AND attempts.merchant = first.merchant
              AND attempts.charge = first.charge
              AND attempts.state || '' IN ('DECLINED', 'SUCCEEDED')
            WINDOW by_number AS (ORDER BY number)
            OFFSET 0) AS attempt
    ), outcome AS (
        SELECT currency, policy_version, attempt_number, means, amount_minor,
               state = 'SUCCEEDED' AS is_recovered,
               is_last AND charge_state IN ('REFUSED', 'ABANDONED') AS is_given_up,
               is_last AND charge_state NOT IN ('SUCCEEDED', 'REFUSED', 'ABANDONED') AS is_open
        FROM tried
        UNION ALL
        SELECT currency, policy_version, attempt_number + 1, 'CREDIT', amount_minor, true, false, false
        FROM tried WHERE is_last AND charge_state = 'SUCCEEDED' AND state = 'DECLINED'
    )
    SELECT currency, policy_version, CAST(attempt_number AS integer) AS attempt_number, means,
           count(*) AS attempt_count, CAST(sum(amount_minor) AS bigint) AS amount_minor,
           count(*) FILTER (WHERE is_recovered) AS recovered_count,
           CAST(coalesce(sum(amount_minor) FILTER (WHERE is_recovered), 0) AS bigint)
             AS recovered_minor,
           count(*) FILTER (WHERE is_given_up) AS given_up_count,
           count(*) FILTER (WHERE is_open) AS open_count
    FROM outcome
    WHERE (currency, policy_version, attempt_number, means)
          > (:after_currency, :after_version, :after_number, :after_means)
    GROUP BY currency, policy_version, attempt_number, means
    ORDER BY currency, policy_version, attempt_number, means LIMIT :limit
""",
    DunningOutcome,
)


async def receivables(
    tx: Connection,
    merchant: MerchantId,
    as_of_time: datetime,
    time_zone: str,
    after: tuple[str, str],
    limit: int,
) -> list[Receivable]:
    """What a merchant's customers owed at an instant, after a customer and currency."""
    customer, currency = after
    local = zone(time_zone)
    day = as_of_time.astimezone(local).date()
    current, *ages = (
        datetime.combine(day - timedelta(days=days), time(), local) for days in (0, 30, 60, 90)
    )
    return await _RECEIVABLES.all(
        tx,
        merchant=merchant,
        as_of_time=as_of_time,
        open_since_time=as_of_time - _OPEN_MAX,
        current_from_time=current,
        days_30_from_time=ages[0],
        days_60_from_time=ages[1],
        days_90_from_time=ages[2],
        after_customer=customer,
        after_currency=currency,
        limit=limit,
    )


async def dunning_outcomes(
    tx: Connection,
    merchant: MerchantId,
    span: tuple[datetime, datetime],
    after: tuple[str, int, int, str],
    limit: int,
) -> list[DunningOutcome]:
    """What became of automatic charges that were declined first from a time until another."""
    currency, version, number, means = after
    return await _DUNNING_OUTCOMES.all(
        tx,
        merchant=merchant,
        from_time=span[0],
        until_time=span[1],
        after_currency=currency,
        after_version=version,
        after_number=number,
        after_means=means,
        limit=limit,
    )
