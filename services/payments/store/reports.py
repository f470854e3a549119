"""Merchants' reports: what was sold and given back, by product and by tax.

Both begin with what is booked between two instants, so that their sums are what accounts of the ledger
moved meanwhile. Each charge that is booked has one transfer of the kind `SALE`. What is given back of
it has some of kinds `CREDIT_NOTE…`: what a refund gives back credits `receivable`, and what came back
from a bank debits it. Charges with the same lines are read as one.
"""

from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query


class ProductSales(NamedTuple):
    """What was sold of a product in one currency, and given back of it."""

    # Its id; empty: of charges without lines.
    product: str
    currency: str
    title: str
    quantity: int
    charge_count: int
    net_minor: int
    tax_minor: int
    refunded_net_minor: int
    refunded_tax_minor: int


class TaxKey(NamedTuple):
    """Which tax."""

    region_code: str
    # Its account without what all of them begin with; empty: no tax.
    account: str
    rate_ppm: int
    treatment: str
    currency: str


class TaxSummary(NamedTuple):
    """What is owed of a tax in one currency."""

    region_code: str
    account: str
    rate_ppm: int
    treatment: str
    currency: str
    # Its id; empty: a tax service gave it, or there was none.
    tax_rate: str
    title: str
    net_minor: int
    tax_minor: int
    refunded_net_minor: int
    refunded_tax_minor: int

    @property
    def key(self) -> TaxKey:
        """Which tax."""
        return TaxKey(*self[:5])


# What was sold, by the lines of charges: days (UTC) that are kept, and what else is booked between the
# two instants. And what was given back, by the account that it was sold on.
_BOOKED = """
    WITH span AS (
        SELECT from_date, greatest(from_date, until_date) AS until_date
        FROM (
            SELECT CAST(CAST(:from_time AS timestamptz) AT TIME ZONE 'UTC'
                        + interval '1 day' - interval '1 microsecond' AS date) AS from_date,
                   least(kept_through_date + 1,
                         CAST(CAST(:until_time AS timestamptz) AT TIME ZONE 'UTC' AS date))
                     AS until_date
            FROM ledger_closing) AS kept
    ), sold AS (
        SELECT region_code, lines, currency, sum(charge_count) AS charge_count,
               sum(amount_minor) AS amount_minor
        FROM (
            SELECT sales_days.* FROM span CROSS JOIN LATERAL (
                SELECT region_code, lines, currency, charge_count, amount_minor FROM sales_days
                WHERE merchant = :merchant
                  AND book_date >= span.from_date AND book_date < span.until_date
                OFFSET 0) AS sales_days
            UNION ALL
            SELECT region_code, lines, currency, 1, of_charge.amount_minor
            FROM span
            CROSS JOIN LATERAL (
                VALUES (:from_time, least(from_date::timestamp AT TIME ZONE 'UTC', :until_time)),
                       (until_date::timestamp AT TIME ZONE 'UTC', :until_time)
            ) AS part (from_time, until_time)
            CROSS JOIN LATERAL (
                SELECT customer, merchant, source, currency FROM ledger_transfers
                WHERE merchant = :merchant
                  AND book_time >= part.from_time AND book_time < part.until_time
                  AND kind = 'SALE'
                OFFSET 0) AS booked
            CROSS JOIN LATERAL (
                SELECT region_code, lines, amount_minor FROM charges
                WHERE charges.customer = booked.customer AND charges.merchant = booked.merchant
                  AND charges.charge = split_part(booked.source, '/', 6)
                OFFSET 0) AS of_charge
        ) AS part
        GROUP BY region_code, lines, currency
    ), note AS (
        SELECT customer, merchant, source, currency,
               CASE credit_account WHEN 'receivable' THEN debit_account ELSE credit_account END
                 AS account,
               CASE credit_account WHEN 'receivable' THEN amount_minor ELSE -amount_minor END AS minor
        FROM ledger_transfers
        WHERE merchant = :merchant AND book_time >= :from_time AND book_time < :until_time
          AND kind LIKE 'CREDIT_NOTE%' AND 'receivable' IN (debit_account, credit_account)
    )
"""
# A refund is split over the products that it names, else over all of its charge: what it was booked
# with of the sale by what each product costs, and of taxes by what is due on each. It is cut at running
# sums, so that the parts add up to it.
_PRODUCT_SALES = Query(
    _BOOKED  # noqa: S608 - fixed words
    + """
    , given_back AS (
        SELECT customer, merchant, source, currency,
               sum(minor) FILTER (WHERE account NOT LIKE 'tax-payable-%') AS net_minor,
               sum(minor) FILTER (WHERE account LIKE 'tax-payable-%') AS tax_minor
        FROM note GROUP BY customer, merchant, source, currency
    ), part AS (
        SELECT line.product, line.title, currency, charge_count * line.quantity AS quantity,
               charge_count, charge_count * line.net_minor AS net_minor,
               charge_count * line.tax_minor AS tax_minor, 0 AS refunded_net_minor,
               0 AS refunded_tax_minor
        FROM sold CROSS JOIN LATERAL (
            SELECT product, max(title) AS title, sum(quantity) AS quantity,
                   sum(net_minor) AS net_minor, sum(coalesce(tax.minor, 0)) AS tax_minor
            FROM jsonb_to_recordset(lines)
              AS line (product text, title text, quantity bigint, net_minor bigint, taxes jsonb)
            CROSS JOIN LATERAL (
                SELECT sum(amount_minor) AS minor
                FROM jsonb_to_recordset(taxes) AS tax (amount_minor bigint)) AS tax
            GROUP BY product) AS line
        UNION ALL
        SELECT '', '', currency, 0, charge_count, amount_minor, 0, 0, 0
        FROM sold WHERE lines = '[]'
        UNION ALL
        SELECT share.product, '', currency, 0, 0, 0, 0,
               div(coalesce(net_minor, 0) * share.until_net, share.net)
                 - div(coalesce(net_minor, 0) * share.from_net, share.net),
               div(coalesce(tax_minor, 0) * share.until_tax, share.tax)
                 - div(coalesce(tax_minor, 0) * share.from_tax, share.tax)
        FROM given_back
        CROSS JOIN LATERAL (
            SELECT refunds.lines AS refund_lines, charges.lines, charges.amount_minor
            FROM refunds JOIN charges USING (customer, merchant, charge)
            WHERE refunds.customer = given_back.customer AND refunds.merchant = given_back.merchant
              AND refunds.charge = split_part(given_back.source, '/', 6)
              AND refunds.refund = split_part(given_back.source, '/', 8)
            OFFSET 0) AS refunded
        CROSS JOIN LATERAL (
            SELECT product, sum(net) OVER part AS until_net, sum(net) OVER part - net AS from_net,
                   sum(net) OVER () AS net, sum(tax) OVER part AS until_tax,
                   sum(tax) OVER part - tax AS from_tax, sum(tax) OVER () AS tax
            FROM (
                SELECT product,
                       CASE WHEN sum(net) OVER () = 0 THEN minor ELSE net END AS net,
                       CASE WHEN sum(tax) OVER () = 0 THEN minor ELSE tax END AS tax
                FROM (
                    SELECT product, minor, minor * net_minor / (net_minor + tax_minor) AS net,
                           minor * tax_minor / (net_minor + tax_minor) AS tax
                    FROM (
                        SELECT product, sum(net_minor) AS net_minor,
                               sum(coalesce(tax.minor, 0)) AS tax_minor
                        FROM jsonb_to_recordset(lines)
                          AS line (product text, net_minor bigint, taxes jsonb)
                        CROSS JOIN LATERAL (
                            SELECT sum(amount_minor) AS minor
                            FROM jsonb_to_recordset(taxes) AS tax (amount_minor bigint)) AS tax
                        GROUP BY product
                        UNION ALL
                        SELECT '', amount_minor, 0 WHERE lines = '[]') AS line
                    CROSS JOIN LATERAL (
                        SELECT CASE refund_lines WHEN '[]' THEN net_minor + tax_minor ELSE (
                            SELECT sum(amount_minor) FROM jsonb_to_recordset(refund_lines)
                              AS named (product text, amount_minor bigint)
                            WHERE named.product = line.product) END AS minor) AS given
                    WHERE minor > 0) AS line) AS weighted
            WINDOW part AS (ORDER BY product)) AS share
    )
    SELECT product, currency, max(title) AS title, CAST(sum(quantity) AS bigint) AS quantity,
           CAST(sum(charge_count) AS bigint) AS charge_count,
           CAST(sum(net_minor) AS bigint) AS net_minor, CAST(sum(tax_minor) AS bigint) AS tax_minor,
           CAST(sum(refunded_net_minor) AS bigint) AS refunded_net_minor,
           CAST(sum(refunded_tax_minor) AS bigint) AS refunded_tax_minor
    FROM part WHERE (product, currency) > (:after_product, :after_currency)
    GROUP BY product, currency ORDER BY product, currency LIMIT :limit
""",
    ProductSales,
)

# A line with several taxes is in what each is due on; one without any is due nothing. Of an account
# that several taxes of a charge have, what was given back is of the first.
_TAX_SUMMARIES = Query(
    _BOOKED  # noqa: S608 - fixed words
    + """
    , given_back AS (
        SELECT customer, merchant, source, currency,
               sum(minor) FILTER (WHERE account NOT LIKE 'tax-payable-%') AS net_minor,
               jsonb_object_agg(account, minor) FILTER (WHERE account LIKE 'tax-payable-%')
                 AS tax_minors
        FROM (
            SELECT customer, merchant, source, currency, account, sum(minor) AS minor
            FROM note GROUP BY customer, merchant, source, currency, account) AS note
        GROUP BY customer, merchant, source, currency
    ), refunded AS (
        SELECT of_charge.region_code, of_charge.lines, of_charge.amount_minor, currency,
               coalesce(net_minor, 0) AS net_minor, tax_minors
        FROM given_back
        CROSS JOIN LATERAL (
            SELECT region_code, lines, amount_minor FROM charges
            WHERE charges.customer = given_back.customer AND charges.merchant = given_back.merchant
              AND charges.charge = split_part(given_back.source, '/', 6)
            OFFSET 0) AS of_charge
    ), part AS (
        SELECT region_code, tax_rate, rate_ppm, treatment, title, currency,
               charge_count * tax.net_minor AS net_minor, charge_count * tax.tax_minor AS tax_minor,
               0 AS refunded_net_minor, 0 AS refunded_tax_minor
        FROM sold CROSS JOIN LATERAL (
            SELECT coalesce(tax.tax_rate, '') AS tax_rate, coalesce(tax.rate_ppm, 0) AS rate_ppm,
                   coalesce(tax.treatment, '') AS treatment, max(coalesce(tax.title, '')) AS title,
                   sum(net_minor) AS net_minor, sum(coalesce(tax.amount_minor, 0)) AS tax_minor
            FROM jsonb_to_recordset(lines) AS line (net_minor bigint, taxes jsonb)
            LEFT JOIN LATERAL jsonb_to_recordset(taxes)
              AS tax (tax_rate text, rate_ppm integer, treatment text, title text,
                      amount_minor bigint) ON true
            GROUP BY 1, 2, 3) AS tax
        UNION ALL
        SELECT region_code, '', 0, '', '', currency, amount_minor, 0, 0, 0
        FROM sold WHERE lines = '[]'
        UNION ALL
        SELECT region_code, tax_rate, rate_ppm, treatment, title, currency, 0, 0,
               round(refunded.net_minor * tax.net_minor / nullif(tax.all_net_minor, 0)),
               CASE WHEN is_first THEN coalesce(CAST(tax_minors ->> account AS bigint), 0) ELSE 0 END
        FROM refunded CROSS JOIN LATERAL (
            SELECT tax_rate, rate_ppm, treatment, title, account, net_minor,
                   (SELECT sum(net_minor) FROM jsonb_to_recordset(lines)
                      AS line (net_minor bigint)) AS all_net_minor,
                   row_number() OVER (PARTITION BY account ORDER BY rate_ppm, treatment) = 1
                     AS is_first
            FROM (
                SELECT coalesce(tax.tax_rate, '') AS tax_rate,
                       coalesce(tax.rate_ppm, 0) AS rate_ppm,
                       coalesce(tax.treatment, '') AS treatment,
                       max(coalesce(tax.title, '')) AS title, sum(net_minor) AS net_minor,
                       CASE WHEN tax.tax_rate IS NULL THEN ''
                            WHEN tax.tax_rate <> '' THEN 'tax-payable-' || tax.tax_rate
                            ELSE format('tax-payable-service-%s-%s',
                                        coalesce(nullif(lower(region_code), ''), 'nowhere'),
                                        tax.rate_ppm) END AS account
                FROM jsonb_to_recordset(lines) AS line (net_minor bigint, taxes jsonb)
                LEFT JOIN LATERAL jsonb_to_recordset(taxes)
                  AS tax (tax_rate text, rate_ppm integer, treatment text, title text) ON true
                GROUP BY 1, 2, 3, 6) AS tax) AS tax
        UNION ALL
        SELECT region_code, '', 0, '', '', currency, 0, 0, net_minor, 0
        FROM refunded WHERE lines = '[]'
    ), summary AS (
        SELECT region_code,
               CASE WHEN tax_rate <> '' THEN tax_rate WHEN rate_ppm = 0 AND treatment = '' THEN ''
                    ELSE format('service-%s-%s',
                                coalesce(nullif(lower(region_code), ''), 'nowhere'), rate_ppm)
               END AS account,
               rate_ppm, treatment, currency, tax_rate, max(title) AS title,
               CAST(sum(net_minor) AS bigint) AS net_minor,
               CAST(sum(tax_minor) AS bigint) AS tax_minor,
               CAST(sum(refunded_net_minor) AS bigint) AS refunded_net_minor,
               CAST(sum(refunded_tax_minor) AS bigint) AS refunded_tax_minor
        FROM part GROUP BY region_code, tax_rate, rate_ppm, treatment, currency
    )
    SELECT region_code, account, rate_ppm, treatment, currency, tax_rate, title, net_minor, tax_minor,
           refunded_net_minor, refunded_tax_minor
    FROM summary
    WHERE (region_code, account, rate_ppm, treatment, currency)
          > (:after_region_code, :after_account, :after_rate_ppm, :after_treatment, :after_currency)
    ORDER BY region_code, account, rate_ppm, treatment, currency LIMIT :limit
""",
    TaxSummary,
)


async def product_sales(
    tx: Connection,
    merchant: MerchantId,
    span: tuple[datetime, datetime],
    after: tuple[str, str],
    limit: int,
) -> list[ProductSales]:
    """What was sold and given back of each product from a time until another, after a row."""
    product, currency = after
    return await _PRODUCT_SALES.all(
        tx,
        merchant=merchant,
        from_time=span[0],
        until_time=span[1],
        after_product=product,
        after_currency=currency,
        limit=limit,
    )


async def tax_summaries(
    tx: Connection,
    merchant: MerchantId,
    span: tuple[datetime, datetime],
    after: TaxKey,
    limit: int,
) -> list[TaxSummary]:
    """What is owed of each tax of what was booked from a time until another, after a row."""
    return await _TAX_SUMMARIES.all(
        tx,
        merchant=merchant,
        from_time=span[0],
        until_time=span[1],
        after_region_code=after.region_code,
        after_account=after.account,
        after_rate_ppm=after.rate_ppm,
        after_treatment=after.treatment,
        after_currency=after.currency,
        limit=limit,
    )
