"""What is known of a customer is gone when it is asked for."""

import pytest
from recurring.notify.v1 import notify_pb2

from tests.contract.customer import Customer, add_contact, new_customer
from tests.suite import Client, Suite, new_id, refused


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def erase(ann: Customer) -> None:
    await ann.shop.notify.EraseCustomer(
        notify_pb2.EraseCustomerRequest(name=ann.name, request_id=new_id())
    )


async def contact(shop: Client, customer: str) -> notify_pb2.Contact:
    found: notify_pb2.Contact = await shop.notify.GetContact(
        notify_pb2.GetContactRequest(name=f"{customer}/contact")
    )
    return found


async def test_who_is_erased_is_not_known_any_more(ann: Customer) -> None:
    await erase(ann)
    assert (await refused(contact(ann.shop, ann.name))).reason == "CONTACT_NOT_FOUND"


async def test_that_there_was_a_notice_stays_without_its_text(ann: Customer) -> None:
    await erase(ann)
    listed = await ann.shop.notify.ListNotices(notify_pb2.ListNoticesRequest(parent=ann.name))
    [code] = listed.notices
    assert [sent.text for sent in code.deliveries] == [""]


async def test_other_customers_stay(ann: Customer) -> None:
    await add_contact(ann, "bob")
    await erase(ann)
    assert (await contact(ann.shop, f"{ann.shop.name}/customers/bob")).display_name == "Bob"


async def test_who_was_erased_can_come_back(ann: Customer) -> None:
    await erase(ann)
    await add_contact(ann)
    assert not (await contact(ann.shop, ann.name)).masked_phone
