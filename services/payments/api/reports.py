"""Merchants' reports between the wire and the domain."""

from datetime import date, datetime
from typing import Any, Literal

from recurring.payments.v1 import payments_pb2

from services.payments.application.reports import Days, Span
from services.payments.domain.keys import MerchantId
from services.payments.names import CUSTOMER, LEDGER_ACCOUNT, MERCHANT, PRODUCT, TAX_RATE
from services.payments.store.receivables import DunningOutcome, Receivable
from services.payments.store.reports import ProductSales, TaxKey, TaxSummary
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import (
    read_date,
    read_timestamp,
    to_date,
    to_money,
    to_timestamp,
)
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import Page
from services.runtime.time_zones import is_time_zone

_RangeRequest = (
    payments_pb2.ListProductSalesRequest
    | payments_pb2.ListTaxSummariesRequest
    | payments_pb2.ListDunningOutcomesRequest
)


def read_days(request: _RangeRequest) -> Days:
    """The days that a report is wanted of. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    start_date = _read_day(violations, "start_date", request)
    end_date = _read_day(violations, "end_date", request)
    _check_zone(violations, request.time_zone)
    violations.check()
    return Days(merchant, start_date, end_date, request.time_zone)


def read_instant(
    request: payments_pb2.ListReceivablesRequest,
) -> tuple[MerchantId, datetime | None, str]:
    """Whose receivables are wanted, of when, and in which zone. Raises like `read_name`."""
    merchant = read_name(MERCHANT, request.parent)
    violations = Violations()
    as_of_time = None
    if request.HasField("as_of_time"):
        as_of_time = read_timestamp(violations, "as_of_time", request.as_of_time)
    _check_zone(violations, request.time_zone)
    violations.check()
    return merchant, as_of_time, request.time_zone


def _check_zone(violations: Violations, time_zone: str) -> None:
    violations.require(
        "time_zone",
        "must be an IANA time zone, such as Europe/Berlin",
        met=not time_zone or is_time_zone(time_zone),
    )


def _read_day(
    violations: Violations, field: Literal["start_date", "end_date"], request: _RangeRequest
) -> date | None:
    return (
        read_date(violations, field, getattr(request, field)) if request.HasField(field) else None
    )


def span_fields(span: Span) -> dict[str, Any]:
    """What a report is of, as its response says it."""
    return {
        "start_date": to_date(span.start_date),
        "end_date": to_date(span.end_date),
        "time_zone": span.time_zone,
    }


def tax_key_after(page: Page) -> TaxKey:
    """The tax before a page. Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID."""
    region_code, account, _, treatment, currency = page.after or ("", "", "", "", "")
    return TaxKey(region_code, account, page.number_at(2), treatment, currency)


def tax_page_key(summary: TaxSummary) -> tuple[str, ...]:
    """What a page of taxes continues after."""
    return tuple(map(str, summary.key))


def outcome_page_key(outcome: DunningOutcome) -> tuple[str, ...]:
    """What a page of outcomes continues after."""
    return tuple(map(str, outcome[:4]))


def product_sales_message(merchant: MerchantId, sales: ProductSales) -> payments_pb2.ProductSales:
    """What was sold of a product."""
    currency = sales.currency
    return payments_pb2.ProductSales(
        product=PRODUCT.format(merchant, sales.product) if sales.product else "",
        title=sales.title,
        quantity=sales.quantity,
        charge_count=sales.charge_count,
        net_amount=to_money(sales.net_minor, currency),
        tax_amount=to_money(sales.tax_minor, currency),
        refunded_net_amount=to_money(sales.refunded_net_minor, currency),
        refunded_tax_amount=to_money(sales.refunded_tax_minor, currency),
    )


def tax_summary_message(merchant: MerchantId, summary: TaxSummary) -> payments_pb2.TaxSummary:
    """What is owed of a tax."""
    currency, account = summary.currency, summary.account
    return payments_pb2.TaxSummary(
        region_code=summary.region_code,
        tax_rate=TAX_RATE.format(merchant, summary.tax_rate) if summary.tax_rate else "",
        rate_ppm=summary.rate_ppm,
        title=summary.title,
        treatment=summary.treatment,
        account=LEDGER_ACCOUNT.format(merchant, f"tax-payable-{account}") if account else "",
        net_amount=to_money(summary.net_minor, currency),
        tax_amount=to_money(summary.tax_minor, currency),
        refunded_net_amount=to_money(summary.refunded_net_minor, currency),
        refunded_tax_amount=to_money(summary.refunded_tax_minor, currency),
    )


def receivable_message(merchant: MerchantId, owed: Receivable) -> payments_pb2.Receivable:
    """What a customer owes."""
    currency = owed.currency
    return payments_pb2.Receivable(
        customer=CUSTOMER.format(merchant, owed.customer),
        charge_count=owed.charge_count,
        oldest_due_time=to_timestamp(owed.oldest_due_time),
        amount=to_money(owed.amount_minor, currency),
        current_amount=to_money(owed.current_minor, currency),
        days_1_to_30_amount=to_money(owed.days_1_to_30_minor, currency),
        days_31_to_60_amount=to_money(owed.days_31_to_60_minor, currency),
        days_61_to_90_amount=to_money(owed.days_61_to_90_minor, currency),
        over_90_days_amount=to_money(owed.over_90_days_minor, currency),
    )


def dunning_outcome_message(outcome: DunningOutcome) -> payments_pb2.DunningOutcome:
    """What became of the attempts of one number and means, by one policy."""
    return payments_pb2.DunningOutcome(
        policy_version=outcome.policy_version,
        attempt_number=outcome.attempt_number,
        means=payments_pb2.DunningOutcome.Means.Value(outcome.means),
        attempt_count=outcome.attempt_count,
        amount=to_money(outcome.amount_minor, outcome.currency),
        recovered_count=outcome.recovered_count,
        recovered_amount=to_money(outcome.recovered_minor, outcome.currency),
        given_up_count=outcome.given_up_count,
        open_count=outcome.open_count,
    )
