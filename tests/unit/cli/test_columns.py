"""What a resource has, people see: each field of a message changes what its columns show."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli import (
    action_links,
    books,
    contacts,
    customers,
    deliveries,
    disputes,
    documents,
    dunning,
    ledger,
    mandates,
    notice_statistics,
    notice_templates,
    notices,
    offers,
    orders,
    payments,
    policies,
    preview,
    prices,
    products,
    promotions,
    protections,
    reports,
    rule_packs,
    standing_orders,
    statements,
    stock,
    tax,
    webhooks,
)
from cli.output import Columns

# What is for programs: an etag, a secret that is never answered, and what a rule says in other words.
UNSHOWN = {"etag", "provider_token", "rrule", "await_confirmation", "to_credit"}
# What people read elsewhere in the same answer.
ELSEWHERE = {
    "Order.lines", "Charge.refunded_amount", "CyclePreview.lines", "LedgerEntry.name",
    "StandingOrder.notice_lead", "Dispute.evidence", "Document.lines", "Document.taxes",
}  # fmt: skip
# Of a oneof, whose last member is what a filled message has.
REPLACED = {"Promotion.amount_off", "PriceProtectionOffer.cap"}
OBVIOUS = {
    "SchedulerSettings.name",
    "DunningPolicy.name",
    "DisputePolicy.name",
    "DocumentSettings.name",
    "PaymentRouting.name",
    "LedgerSettings.name",
    "CatalogSettings.name",
    "LedgerPeriod.name",
    "NotifySettings.name",
}

SHOWN: list[tuple[type[Message], Columns[Any]]] = [
    (scheduler_pb2.StandingOrder, standing_orders.DETAIL_COLUMNS),
    (scheduler_pb2.Order, orders.ORDER_DETAIL_COLUMNS),
    (scheduler_pb2.OrderLine, orders.LINE_COLUMNS),
    (scheduler_pb2.Decision, orders.DECISION_COLUMNS),
    (scheduler_pb2.CyclePreview, preview.PREVIEW_COLUMNS),
    (scheduler_pb2.StandingPriceProtection, protections.PROTECTION_COLUMNS),
    (scheduler_pb2.SchedulerSettings, policies.SETTINGS_COLUMNS),
    (scheduler_pb2.ActionLink, action_links.LINK_COLUMNS),
    (notify_pb2.NotifySettings, notices.SETTINGS_COLUMNS),
    (catalog_pb2.TaxRate, tax.RATE_COLUMNS),
    (catalog_pb2.CatalogSettings, tax.SETTINGS_COLUMNS),
    (catalog_pb2.RulePack, rule_packs.PACK_COLUMNS),
    (catalog_pb2.BindingRule, rule_packs.BINDING_COLUMNS),
    (payments_pb2.PaymentMethod, payments.PAYMENT_METHOD_COLUMNS),
    (payments_pb2.Mandate, mandates.MANDATE_DETAIL_COLUMNS),
    (payments_pb2.Charge, payments.CHARGE_DETAIL_COLUMNS),
    (payments_pb2.Verdict, payments.VERDICT_COLUMNS),
    (payments_pb2.Charge.Attempt, payments.ATTEMPT_COLUMNS),
    (payments_pb2.DunningPolicy, dunning.POLICY_COLUMNS),
    (payments_pb2.Refund, payments.REFUND_COLUMNS),
    (payments_pb2.Dispute, disputes.DISPUTE_DETAIL_COLUMNS),
    (payments_pb2.Dispute.Evidence, disputes.EVIDENCE_COLUMNS),
    (payments_pb2.DisputePolicy, disputes.POLICY_COLUMNS),
    (payments_pb2.Document, documents.DOCUMENT_DETAIL_COLUMNS),
    (payments_pb2.Document.Line, documents.LINE_COLUMNS),
    (payments_pb2.Document.TaxTotal, documents.TAX_COLUMNS),
    (payments_pb2.DocumentSettings, documents.SETTINGS_COLUMNS),
    (payments_pb2.BillingDetails, customers.BILLING_COLUMNS),
    (payments_pb2.PaymentRouting, payments.ROUTING_COLUMNS),
    (payments_pb2.LedgerAccount, ledger.ACCOUNT_COLUMNS),
    (payments_pb2.ProductSales, reports.SALES_COLUMNS),
    (payments_pb2.TaxSummary, reports.TAX_COLUMNS),
    (payments_pb2.Statement.Sums, statements.SUMS_COLUMNS),
    (payments_pb2.Statement.Entry, statements.ENTRY_COLUMNS),
    (payments_pb2.Receivable, reports.RECEIVABLE_COLUMNS),
    (payments_pb2.DunningOutcome, reports.OUTCOME_COLUMNS),
    (payments_pb2.LedgerPeriod, books.PERIOD_COLUMNS),
    (payments_pb2.LedgerSettings, books.SETTINGS_COLUMNS),
    (payments_pb2.Payout, books.PAYOUT_COLUMNS),
    (payments_pb2.ReconciliationFinding, books.RECORDED_COLUMNS),
    (payments_pb2.LedgerEntry, ledger.ENTRY_COLUMNS),
    (notify_pb2.Contact, contacts.CONTACT_DETAIL_COLUMNS),
    (notify_pb2.Notice, notices.NOTICE_COLUMNS),
    (notify_pb2.NoticeTemplate, notice_templates.TEMPLATE_COLUMNS),
    (notify_pb2.PreviewNoticeResponse, notice_templates.PREVIEW_COLUMNS),
    (notify_pb2.ChannelPlan, notices.PLAN_COLUMNS),
    (notify_pb2.NoticeStatistics, notice_statistics.STATISTICS_COLUMNS),
    (notify_pb2.WebhookEndpoint, webhooks.ENDPOINT_DETAIL_COLUMNS),
    (notify_pb2.WebhookDelivery, webhooks.DELIVERY_COLUMNS),
    (catalog_pb2.Product, products.PRODUCT_COLUMNS),
    (catalog_pb2.Price, prices.PRICE_COLUMNS),
    (catalog_pb2.PriceProtectionOffer, offers.OFFER_COLUMNS),
    (catalog_pb2.Promotion, promotions.PROMOTION_COLUMNS),
    (catalog_pb2.Stock, stock.STOCK_COLUMNS),
    (catalog_pb2.StockHold, stock.HOLD_COLUMNS),
    (catalog_pb2.Delivery, deliveries.DELIVERY_COLUMNS),
    (scheduler_pb2.StockCoverage, stock.COVERAGE_COLUMNS),
]


def fill(message: Message) -> Message:
    """A message with something in every field, of each oneof in its first."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof and message.WhichOneof(field.containing_oneof.name):
            continue
        if field.message_type is not None and field.message_type.full_name.endswith("Struct"):
            message.data.update({"reasons": ["A", "B"]})  # type: ignore[attr-defined]
        elif field.message_type is not None:
            part = getattr(message, field.name)
            fill(part.add() if field.is_repeated else part)
        elif field.is_repeated:
            getattr(message, field.name).append(value(field))
        else:
            setattr(message, field.name, value(field))
    return message


def value(field: Any) -> Any:  # noqa: ANN401 - a field, and what it may hold
    if field.enum_type is not None:
        return field.enum_type.values[1].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"content"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        known = {
            "name": "merchants/demo/customers/ada/x",
            "currency_code": "EUR",
            "time_zone": "UTC",
            "region_code": "GB",
        }
        return known.get(field.name, f"merchants/demo/things/{field.name}")
    return field.cpp_type == FieldDescriptor.CPPTYPE_BOOL or 2


def fields() -> Iterator[tuple[type[Message], Columns[Any], str]]:
    for kind, columns in SHOWN:
        for field in kind.DESCRIPTOR.fields:
            path = f"{kind.DESCRIPTOR.name}.{field.name}"
            if field.name not in UNSHOWN and path not in ELSEWHERE | OBVIOUS | REPLACED:
                yield kind, columns, field.name


@pytest.mark.parametrize(
    ("kind", "columns", "field"), list(fields()), ids=lambda value: getattr(value, "__name__", None)
)
def test_each_field_can_be_seen(kind: type[Message], columns: Columns[Any], field: str) -> None:
    whole = fill(kind())
    part = kind()
    part.CopyFrom(whole)
    part.ClearField(field)
    assert [show(part) for show in columns.values()] != [show(whole) for show in columns.values()]


def test_a_decision_shows_lists_and_records() -> None:
    decision = scheduler_pb2.Decision()
    decision.data.update(
        {"reasons": ["OUT_OF_STOCK", "PHONE_NOT_BOUND"], "lines": [{"price": "p"}]}
    )
    assert orders.DECISION_COLUMNS["data"](decision) == (
        "lines[0].price=p\nreasons=OUT_OF_STOCK, PHONE_NOT_BOUND"
    )
