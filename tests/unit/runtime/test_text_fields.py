"""The one rule for human text applies to every text field of every request."""

from collections.abc import Iterator

import pytest
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.type.postal_address_pb2 import PostalAddress
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Violations
from services.runtime.rpc import validation
from services.runtime.rpc.text_fields import Kind, kind_of

CONTRACTS = (catalog_pb2, scheduler_pb2, payments_pb2, notify_pb2)
ID = "0190b0c2-5e1c-4c3a-8d5e-1f2a3b4c5d6e"
# All that people write. A new string of a request is text, unless its form is in the contract.
TEXTS = {
    "recurring.catalog.v1.PriceProtectionOffer.title",
    "recurring.catalog.v1.Product.title",
    "recurring.catalog.v1.Promotion.title",
    "recurring.catalog.v1.Rule.source",
    "recurring.catalog.v1.TaxRate.title",
    "recurring.scheduler.v1.StandingOrder.title",
    "recurring.payments.v1.BillingDetails.display_name",
    "recurring.payments.v1.BillingDetails.address_lines",
    "recurring.payments.v1.BillingDetails.tax_id",
    "recurring.payments.v1.Mandate.Evidence.text",
    "recurring.payments.v1.Mandate.Evidence.source",
    "recurring.payments.v1.Refund.note",
    "recurring.payments.v1.Seller.display_name",
    "recurring.payments.v1.Seller.address_lines",
    "recurring.payments.v1.Seller.tax_id",
    "recurring.payments.v1.DocumentSettings.footer",
    "recurring.payments.v1.SubmitDisputeEvidenceRequest.text",
    "recurring.notify.v1.Contact.display_name",
    "recurring.notify.v1.ListNoticesRequest.subject_resource",
    "recurring.notify.v1.NoticeTemplate.subject",
    "recurring.notify.v1.NoticeTemplate.text",
    "recurring.notify.v1.NotifySettings.complaint_address",
    "recurring.notify.v1.NotifySettings.merchant_display_name",
    "recurring.notify.v1.WebhookEndpoint.description",
    "recurring.audit.v1.ListAuditEntriesRequest.resource",
    "recurring.audit.v1.ListAuditEntriesRequest.subject",
    *(
        f"google.type.PostalAddress.{field.name}"
        for field in PostalAddress.DESCRIPTOR.fields
        if field.type == FieldDescriptor.TYPE_STRING
    ),
}
PROGRAMS = {"recurring.scheduler.v1.Condition.expression", "recurring.scheduler.v1.Schedule.rrule"}
# What is judged by who reads it: no free text, or our own.
OTHERS = {
    "country", "currency_code", "code", "etag", "event_id", "name", "page_token", "phone", "product",
    "request_id", "subdivision", "substitute", "time_zone",
}  # fmt: skip


def strings() -> Iterator[FieldDescriptor]:
    """Every string field that a caller can give, at any depth of a request."""
    names: set[str] = set()
    requests = [
        method.input_type
        for contract in CONTRACTS
        for service in contract.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    while requests:
        message: Descriptor = requests.pop()
        if message.full_name in names or message.full_name.startswith("google.protobuf."):
            continue
        names.add(message.full_name)
        for field in message.fields:
            if field_behavior_pb2.OUTPUT_ONLY in behaviours(field):
                continue
            if field.message_type is not None:
                requests.append(field.message_type)
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield field


def behaviours(field: FieldDescriptor) -> list[int]:
    return list(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def of(kind: Kind) -> set[str]:
    return {field.full_name for field in strings() if kind_of(field) is kind}


def test_every_string_of_a_request_is_an_identifier_or_under_the_rule_of_text() -> None:
    assert of(Kind.TEXT) == TEXTS
    assert of(Kind.PROGRAM) == PROGRAMS
    assert of(Kind.TOKEN) == {"recurring.payments.v1.PaymentMethod.provider_token"}
    assert {name.rpartition(".")[2] for name in of(Kind.OTHER)} <= OTHERS


def fields_refused(request: Message) -> list[str]:
    violations = Violations()
    validation.note(violations, request)
    assert not any("4242" in violation.description for violation in violations.found)
    return [violation.field for violation in violations.found]


def product(
    product_id: str = "tea", *, title: str = "Tea", etag: str = ""
) -> catalog_pb2.CreateProductRequest:
    return catalog_pb2.CreateProductRequest(
        parent="merchants/demo",
        product_id=product_id,
        product=catalog_pb2.Product(title=title, etag=etag),
        request_id=ID,
    )


def test_a_text_reaches_its_method_in_one_form() -> None:
    request = product(title="Cafe\u0301")
    assert fields_refused(request) == []
    assert request.product.title == "Café"


@pytest.mark.parametrize("title", [" ", "\u202eTea", "\x1b[2J", "4242 4242 4242 4242", "x" * 101])
def test_a_title_that_breaks_the_rule_is_refused_once_by_its_path(title: str) -> None:
    assert fields_refused(product(title=title)) == ["product.title"]


def test_the_length_of_a_title_counts_what_is_seen() -> None:
    assert fields_refused(product(title="👨\u200d👩\u200d👧" * 60)) == []
    assert fields_refused(product(title="ශ්\u200dරී" * 50)) == []


def test_a_card_number_is_no_id_and_no_token() -> None:
    assert fields_refused(product("4242424242424242")) == ["product_id"]
    method = payments_pb2.PaymentMethod(provider_token="4242424242424242")
    request = payments_pb2.CreatePaymentMethodRequest(
        parent="merchants/demo/customers/ada",
        payment_method_id="card",
        payment_method=method,
        request_id=ID,
    )
    assert fields_refused(request) == ["payment_method.provider_token"]


def test_an_address_is_text_line_by_line() -> None:
    address = PostalAddress(
        region_code="GB", address_lines=["High Street 1", "\u202eBath", "4242-4242-4242-4242"]
    )
    wanted = scheduler_pb2.StandingOrder(ship_to=address)
    request = scheduler_pb2.CreateStandingOrderRequest(standing_order=wanted)
    refused = fields_refused(request)
    assert "standing_order.ship_to.address_lines[1]" in refused
    assert "standing_order.ship_to.address_lines[2]" in refused
    assert "standing_order.ship_to.address_lines[0]" not in refused


def test_an_expression_has_lines_but_nothing_hidden() -> None:
    def refused(expression: str) -> bool:
        condition = scheduler_pb2.Condition(expression=expression)
        wanted = scheduler_pb2.StandingOrder(conditions=[condition])
        request = scheduler_pb2.CreateStandingOrderRequest(standing_order=wanted)
        return "standing_order.conditions[0].expression" in fields_refused(request)

    assert not refused("total < 1000\n  && cycle > 2")
    assert refused("total < 1000 \u202e")


def test_what_only_the_service_writes_is_not_judged() -> None:
    assert fields_refused(product(etag="\x1b")) == []
