"""The rules of the contracts: each compiles, and a violation names the path of its field."""

import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.errors import Problem, Violations
from services.runtime.rpc import validation

CONTRACTS = (audit_pb2, catalog_pb2, scheduler_pb2, payments_pb2, notify_pb2)
REQUEST_ID = "0190b0c2-5e1c-7c3a-8d5e-1f2a3b4c5d6e"


def broken(message: Message) -> dict[str, str]:
    violations = Violations()
    validation.note(violations, message)
    return {violation.field: violation.reason for violation in violations.found}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.DESCRIPTOR.package)
def test_every_rule_compiles(contract: object) -> None:
    for description in contract.DESCRIPTOR.message_types_by_name.values():  # type: ignore[attr-defined]
        broken(GetMessageClass(description)())


def test_every_request_id_must_be_a_uuid() -> None:
    for contract in CONTRACTS:
        for name, description in contract.DESCRIPTOR.message_types_by_name.items():
            if name.endswith("Request") and "request_id" in description.fields_by_name:
                assert broken(GetMessageClass(description)())["request_id"] == "FIELD_INVALID"


@pytest.mark.parametrize(("depth", "is_read"), [(100, True), (101, False), (100_000, False)])
def test_a_message_is_nested_so_deep_and_no_deeper(depth: int, *, is_read: bool) -> None:
    read = validation.reader(catalog_pb2.GetProductRequest.FromString)
    assert read is not None
    # Groups in groups, of a field that nobody knows.
    begin, end = b"\xa3\x06", b"\xa4\x06"
    assert isinstance(read(begin * depth + end * depth), Message) == is_read


def test_what_keeps_the_rules_passes() -> None:
    validation.check(
        catalog_pb2.CreateProductRequest(
            parent="merchants/acme",
            product_id="tea",
            product=catalog_pb2.Product(title="Tea"),
            request_id=REQUEST_ID,
        )
    )


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (
            scheduler_pb2.CreateStandingOrderRequest(
                standing_order=scheduler_pb2.StandingOrder(items=[scheduler_pb2.Item()] * 10_000)
            ),
            "standing_order.items",
        ),
        (
            scheduler_pb2.UpdateStandingOrderRequest(
                update_mask=field_mask_pb2.FieldMask(paths=["a"] * 10_000)
            ),
            "update_mask.paths",
        ),
    ],
    ids=["a rule of the contract", "no rule"],
)
def test_of_a_list_that_is_too_long_nothing_else_is_looked_at(request_: Message, path: str) -> None:
    assert broken(request_) == {path: "FIELD_INVALID"}


def test_a_field_within_others_is_named_by_its_path() -> None:
    request = scheduler_pb2.CreateStandingOrderRequest(
        parent="merchants/acme",
        standing_order=scheduler_pb2.StandingOrder(
            items=[
                scheduler_pb2.Item(product="merchants/acme/products/tea", quantity=1),
                scheduler_pb2.Item(product="tea", quantity=0),
            ]
        ),
        request_id=REQUEST_ID,
    )
    assert broken(request) == {
        "standing_order.items[1].product": "FIELD_INVALID",
        "standing_order.items[1].quantity": "FIELD_INVALID",
    }


def test_a_rule_can_have_a_reason_of_its_own() -> None:
    request = catalog_pb2.ListProductsRequest(parent="merchants/acme", page_size=1001)
    with pytest.raises(Problem) as refusal:
        validation.check(request)
    assert refusal.value.reason == "PAGE_SIZE_TOO_LARGE"


@pytest.mark.parametrize("text", ["merchants/acme\n", "merchants/acmé", "merchants/acme\x00"])
def test_a_name_is_matched_to_its_end(text: str) -> None:
    assert broken(catalog_pb2.ListProductsRequest(parent=text)) == {"parent": "FIELD_INVALID"}


@pytest.mark.parametrize("seconds", [0, -(2**63), 2**63 - 1])
def test_a_duration_that_is_longer_than_any_is_no_accident(seconds: int) -> None:
    wanted = scheduler_pb2.StandingOrder()
    wanted.notice_lead.seconds = seconds
    assert broken(wanted) == {"notice_lead": "FIELD_INVALID"}


def test_what_an_update_leaves_out_breaks_no_rule() -> None:
    changed = scheduler_pb2.StandingOrder(name="merchants/acme/standingOrders/weekly", title="Tea")
    assert not broken(changed)
