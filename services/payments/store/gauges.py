"""What operators watch of payments."""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import text

from services.payments.domain.outcomes import Declined, NotMade, Outcome, Succeeded, Unknown
from services.runtime.observability import metrics
from services.runtime.observability.gauges import Gauge, GaugeQuery, count_of, lateness_of

_attempts = metrics.counter(
    "recurring.charge.attempts",
    "{attempt}",
    "Answers of the provider to charges, by outcome",
    [
        {"outcome": "SUCCEEDED"},
        {"outcome": "DECLINED"},
        {"outcome": "NOT_MADE"},
        {"outcome": "UNKNOWN"},
    ],
)
_NAMES: dict[type[Outcome], str] = {
    Succeeded: "SUCCEEDED",
    Declined: "DECLINED",
    NotMade: "NOT_MADE",
    Unknown: "UNKNOWN",
}


def answered(outcomes: Iterable[Outcome]) -> None:
    """Count what the provider said of charges."""
    for outcome, count in Counter(_NAMES[type(each)] for each in outcomes).items():
        _attempts.add(count, {"outcome": outcome})


GAUGE_QUERIES = (
    GaugeQuery(
        text(f"""
            SELECT {
            count_of('''FROM charges
                                WHERE state = 'SCHEDULED' AND next_attempt_time <= :now''')
        } AS due,
                   {
            lateness_of('''(SELECT min(next_attempt_time) FROM charges
                                    WHERE state = 'SCHEDULED')''')
        } AS lateness,
                   {count_of("FROM attempts WHERE state = 'UNKNOWN'")} AS unknown,
                   {
            lateness_of('''(SELECT min(start_time) FROM (
                                        SELECT start_time FROM attempts WHERE state = 'UNKNOWN'
                                        LIMIT :limit) AS unknown)''')
        } AS unknown_age,
                   {
            count_of('''FROM (SELECT FROM attempts WHERE state = 'UNKNOWN' AND mismatch <> ''
                                  UNION ALL
                                  SELECT FROM refunds WHERE state = 'PENDING' AND mismatch <> '')
                                AS mismatched''')
        } AS mismatched,
                   {count_of("FROM refunds WHERE state = 'PENDING'")} AS refunds,
                   {
            lateness_of('''(SELECT min(create_time) FROM (
                                        SELECT create_time FROM refunds WHERE state = 'PENDING'
                                        LIMIT :limit) AS pending)''')
        } AS refund_age
        """),  # noqa: S608 - put together from constants
        {
            "due": Gauge("recurring.charges.due", "{charge}", "Charges that are due and not tried"),
            "lateness": Gauge(
                "recurring.charges.oldest.lateness", "s", "How late the oldest due charge is"
            ),
            "unknown": Gauge(
                "recurring.charges.unknown", "{charge}", "Charges whose outcome nobody knows"
            ),
            "unknown_age": Gauge(
                "recurring.charges.unknown.oldest.age", "s", "Age of the oldest unknown outcome"
            ),
            "mismatched": Gauge(
                "recurring.charges.mismatched",
                "{answer}",
                "Charges and refunds of which the provider answered what was not asked for",
            ),
            "refunds": Gauge("recurring.refunds.pending", "{refund}", "Refunds not yet answered"),
            "refund_age": Gauge(
                "recurring.refunds.oldest.age", "s", "Age of the oldest refund not yet answered"
            ),
        },
    ),
    # PostgreSQL refuses an entry that does not sum to zero; this looks whether it really did.
    GaugeQuery(
        text(f"""
            SELECT {
            count_of('''
                FROM (SELECT merchant, customer, transaction FROM ledger_transactions
                      WHERE book_time >= :since LIMIT :limit) AS recent
                JOIN ledger_entries USING (customer, merchant, transaction)
                GROUP BY customer, merchant, transaction, currency
                HAVING sum(amount_minor) <> 0''')
        } AS unbalanced
        """),  # noqa: S608 - put together from constants
        {
            "unbalanced": Gauge(
                "recurring.ledger.unbalanced",
                "{transaction}",
                "Transactions of the ledger since the last look that do not sum to zero",
            )
        },
    ),
)
