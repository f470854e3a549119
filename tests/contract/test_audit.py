"""What callers changed can be read afterwards: who, what, from where, before and after."""

import asyncio
import re
import uuid

import pytest
from google.protobuf.json_format import MessageToDict
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2

from tests.contract.every_call import CONTRACTS, Call, platform_calls
from tests.suite import Client, Suite, new_id, refused

EMAIL = "ann.canary@example.com"
NAME = "Ann Canary"


@pytest.fixture
def shop(suite: Suite) -> Client:
    return suite.client()


async def entries(
    shop: Client, service: str, *, resource: str = "", subject: str = ""
) -> list[dict[str, object]]:
    request = audit_pb2.ListAuditEntriesRequest(
        parent=shop.name, resource=resource, subject=subject
    )
    answer = await Call(service, "ListAuditEntries", request).make(shop)
    return [
        MessageToDict(audit_entry, preserving_proto_field_name=True)
        for audit_entry in answer.audit_entries
    ]


async def make_product(shop: Client, product: str) -> catalog_pb2.CreateProductRequest:
    request = catalog_pb2.CreateProductRequest(
        parent=shop.name,
        product_id=product,
        product=catalog_pb2.Product(title=product.title()),
        request_id=new_id(),
    )
    await shop.catalog.CreateProduct(request)
    return request


async def test_an_entry_has_who_made_the_change_and_what_was_before(shop: Client) -> None:
    created = await make_product(shop, "tea")
    name = f"{shop.name}/products/tea"
    request = catalog_pb2.DiscontinueProductRequest(name=name, request_id=new_id())
    await shop.catalog.DiscontinueProduct(request)
    # Asked again: the answer comes again, and nothing is changed.
    await shop.catalog.DiscontinueProduct(request)
    newest, oldest = await entries(shop, "catalog")
    assert (newest["method"], newest["resource"]) == ("DiscontinueProduct", name)
    assert newest["request_id"] == request.request_id
    assert newest["subject"] == f"test-{shop.merchant}-platform"
    assert re.fullmatch(r"ipv4:(\d+\.){3}\d+(:\d+)?", str(newest["origin"]))
    before, after = newest["before"], newest["after"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (before["state"], after["state"]) == ("ACTIVE", "DISCONTINUED")
    assert (oldest["method"], oldest["request_id"]) == ("CreateProduct", created.request_id)
    assert "before" not in oldest


async def test_what_has_no_name_of_its_own_is_kept_by_what_it_is_about(shop: Client) -> None:
    name = f"{shop.name}/products/tea"
    await shop.catalog.CreateProduct(
        catalog_pb2.CreateProductRequest(
            parent=shop.name,
            product_id="tea",
            product=catalog_pb2.Product(title="Tea", stock_tracked=True),
            request_id=new_id(),
        )
    )
    await shop.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(product=name, delta_units=5, request_id=new_id())
    )
    [adjusted, _] = await entries(shop, "catalog", resource=name)
    before, after = adjusted["before"], adjusted["after"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (before.get("on_hand_units", "0"), after["on_hand_units"]) == ("0", "5")


async def test_a_refused_change_leaves_no_entry(shop: Client) -> None:
    request = await make_product(shop, "tea")
    request.request_id = new_id()
    assert (await refused(shop.catalog.CreateProduct(request))).code == "ALREADY_EXISTS"
    assert len(await entries(shop, "catalog")) == 1


async def test_personal_data_are_masked(shop: Client) -> None:
    contact = notify_pb2.Contact(
        name=f"{shop.name}/customers/ann/contact", display_name=NAME, email=EMAIL
    )
    for display_name in (NAME, "Ann Other"):
        contact.display_name = display_name
        await shop.notify.UpdateContact(
            notify_pb2.UpdateContactRequest(
                contact=contact, allow_missing=True, request_id=new_id()
            )
        )
    newest, _ = listed = await entries(shop, "notify")
    assert NAME not in str(listed)
    assert EMAIL not in str(listed)
    after = newest["after"]
    assert isinstance(after, dict)
    assert (after["display_name"], after["email"]) == ("•••er", "•••om")


async def test_entries_are_read_page_by_page_and_by_resource_and_caller(shop: Client) -> None:
    for product in ("coffee", "milk", "tea"):
        await make_product(shop, product)
    request = audit_pb2.ListAuditEntriesRequest(parent=shop.name, page_size=2)
    first = await shop.catalog.ListAuditEntries(request)
    request.page_token = first.next_page_token
    second = await shop.catalog.ListAuditEntries(request)
    resources = [entry.resource for entry in (*first.audit_entries, *second.audit_entries)]
    assert resources == [f"{shop.name}/products/{product}" for product in ("tea", "milk", "coffee")]
    assert not second.next_page_token
    [milk] = await entries(shop, "catalog", resource=f"{shop.name}/products/milk")
    assert milk["resource"] == f"{shop.name}/products/milk"
    assert await entries(shop, "catalog", subject="somebody else") == []


@pytest.mark.parametrize("service", CONTRACTS)
async def test_a_filter_that_no_database_can_keep_is_refused(shop: Client, service: str) -> None:
    refusal = await refused(entries(shop, service, resource="a\x00", subject="b\x00"))
    assert (refusal.reason, set(refusal.fields)) == ("FIELD_INVALID", {"resource", "subject"})


async def test_a_program_that_may_write_may_not_read_the_audit(suite: Suite, shop: Client) -> None:
    writer = suite.client(shop.merchant, "products:write")
    await make_product(writer, "tea")
    calls = [
        platform_call
        for platform_call in platform_calls(shop.merchant)
        if platform_call.method == "ListAuditEntries"
    ]
    refusals = await asyncio.gather(*(refused(call.make(writer)) for call in calls))
    assert {refusal.reason for refusal in refusals} == {"SCOPE_MISSING"}
    auditor = suite.client(shop.merchant, "audit:read")
    assert len(await entries(auditor, "catalog")) == 1


async def test_an_entry_does_not_reveal_how_many_other_merchants_have(
    suite: Suite, shop: Client
) -> None:
    other = suite.client()
    names: list[str] = []
    for client in (shop, other, shop):
        await make_product(client, f"tea-{len(names)}")
        names.append(str((await entries(client, "catalog"))[0]["name"]).rpartition("/")[2])
    # Ids that begin with a time and are otherwise made up: nothing that was counted.
    assert [uuid.UUID(name).version for name in names] == [7, 7, 7]
