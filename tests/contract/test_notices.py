"""Notices as platforms shape them: in whose language, and where it is what time."""

from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2

from tests.contract.customer import Customer, new_customer
from tests.suite import Suite, new_id, refused


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


def update(ann: Customer, **fields: Any) -> notify_pb2.UpdateContactRequest:  # noqa: ANN401
    contact = notify_pb2.Contact(name=f"{ann.name}/contact", **fields)
    return notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())


async def test_a_contact_has_a_language_and_a_time_zone(ann: Customer) -> None:
    contact = await ann.shop.notify.UpdateContact(
        update(ann, locale="zh-tw", time_zone="Asia/Taipei")
    )
    assert (contact.locale, contact.time_zone) == ("zh-Hant-TW", "Asia/Taipei")
    assert contact.display_name


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("locale", "qq-DE", "LOCALE_UNKNOWN"),
        ("locale", "de_DE", "FIELD_INVALID"),
        ("time_zone", "Europe/Atlantis", "TIME_ZONE_UNKNOWN"),
    ],
)
async def test_a_language_or_a_time_zone_that_nobody_has(
    ann: Customer, field: str, value: str, reason: str
) -> None:
    refusal = await refused(ann.shop.notify.UpdateContact(update(ann, **{field: value})))
    assert refusal.fields == {f"contact.{field}": reason}
