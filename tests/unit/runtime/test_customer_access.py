"""Which requests a customer's token may make: what they name, what they set, what a mask empties."""

from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.auth.call_context import Caller
from services.runtime.auth.customer_access import (
    CustomerAccess,
    by_name,
    by_row,
    check_request,
    of_nobody,
)
from services.runtime.errors import Problem

ANN = Caller("merchants/acme/customers/ann", "acme", customer="ann")
OWN = "merchants/acme/customers/ann"
ids = st.sampled_from(["acme", "ann"]) | st.text("acmen-", min_size=1, max_size=5)


def refused(access: CustomerAccess | None, request: Message) -> tuple[str, set[str]] | None:
    """The reason and the fields of a refusal; None if there is none."""
    try:
        check_request(ANN, access, request)
    except Problem as problem:
        return problem.reason, {violation.field for violation in problem.violations}
    return None


def updating(*paths: str, **fields: Any) -> scheduler_pb2.UpdateStandingOrderRequest:  # noqa: ANN401
    return scheduler_pb2.UpdateStandingOrderRequest(
        standing_order=scheduler_pb2.StandingOrder(
            name="merchants/acme/standingOrders/weekly", **fields
        ),
        update_mask=field_mask_pb2.FieldMask(paths=paths),
    )


@given(ids, ids, st.sampled_from(["", "/charges/c-1", "/mandates/m1", "x"]))
def test_a_name_is_own_only_if_it_is_of_the_customer_and_the_merchant(
    merchant: str, customer: str, below: str
) -> None:
    request = payments_pb2.GetChargeRequest(
        name=f"merchants/{merchant}/customers/{customer}{below}"
    )
    is_own = merchant == "acme" and customer == "ann" and below != "x"
    assert (refused(by_name("name"), request) is None) is is_own


@pytest.mark.parametrize(
    "name", ["", OWN, f"{OWN}/charges/c-1", "merchants/acme/customers/anna", "merchants/acme",
             "merchants/acme/customers/-", "merchants/acme/customers/-/charges/c-1"]
)  # fmt: skip
def test_neither_a_prefix_nor_a_wildcard_nor_nothing_names_the_customer(name: str) -> None:
    allowed = name in {OWN, f"{OWN}/charges/c-1"}
    request = payments_pb2.GetChargeRequest(name=name)
    assert (refused(by_name("name"), request) is None) is allowed


def test_a_merchants_token_is_not_asked() -> None:
    merchant = Caller("shop", "acme")
    check_request(merchant, None, payments_pb2.GetChargeRequest(name="anything"))


def test_a_method_without_a_rule_is_closed() -> None:
    assert refused(None, payments_pb2.GetChargeRequest(name=OWN)) == ("CUSTOMER_FORBIDDEN", set())


def test_another_customer_is_named_nowhere_in_a_request() -> None:
    access = by_name("parent", "mandate")
    request = payments_pb2.CreateMandateRequest(
        parent=OWN,
        mandate=payments_pb2.Mandate(
            payment_method="merchants/acme/customers/bob/paymentMethods/p"
        ),
    )
    assert refused(access, request) == ("CUSTOMER_FORBIDDEN", {"mandate.payment_method"})


@pytest.mark.parametrize("access", [by_row("name"), of_nobody("name")])
def test_another_customer_is_named_by_no_ownership(access: CustomerAccess) -> None:
    request = payments_pb2.GetChargeRequest(name="merchants/acme/customers/bob/charges/c-1")
    assert refused(access, request) == ("CUSTOMER_FORBIDDEN", {"name"})


def test_what_is_not_listed_is_the_merchants_to_set() -> None:
    access = by_row("name", "until_time")
    request = scheduler_pb2.PauseStandingOrderRequest(name="x", cycle_count=2)
    assert refused(access, request) == ("CUSTOMER_FORBIDDEN", {"cycle_count"})


def test_a_part_of_what_is_not_listed_as_a_whole_can_be_listed() -> None:
    access = by_name("contact.name", "contact.email")
    contact = notify_pb2.Contact(name=f"{OWN}/contact", email="ann@example.com")
    assert refused(access, notify_pb2.UpdateContactRequest(contact=contact)) is None
    contact.preferences.email_muted = True
    request = notify_pb2.UpdateContactRequest(contact=contact)
    assert refused(access, request) == ("CUSTOMER_FORBIDDEN", {"contact.preferences"})


def test_a_resource_can_be_sent_as_it_was_got_and_what_the_mask_leaves_out_does_not_count() -> None:
    access = by_row("standing_order.name", "standing_order.title")
    request = updating("title", title="Tea", customer=OWN, etag="1", notice_lead={"seconds": 1})
    assert refused(access, request) is None


@pytest.mark.parametrize(
    "path", ["notice_lead", "price_protection.lock", "customer", "*", "nothing"]
)
def test_a_mask_names_only_what_the_customer_may_set(path: str) -> None:
    access = by_row("standing_order.name", "standing_order.title")
    reason, _ = refused(access, updating("title", path)) or ("", set())
    assert reason == "CUSTOMER_FORBIDDEN"


def test_a_mask_may_name_a_part_of_what_the_customer_may_set() -> None:
    access = by_row("standing_order.name", "standing_order.schedule")
    assert refused(access, updating("schedule.time_zone")) is None


def test_without_a_mask_whatever_is_set_counts() -> None:
    access = by_row("standing_order.name", "standing_order.title")
    request = updating(title="Tea", tax_id="DE123")
    assert refused(access, request) == ("CUSTOMER_FORBIDDEN", {"standing_order.tax_id"})
