"""Whose phones are sent codes, what these may cost, and how a phone takes the place of another."""

import random
import re
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import to_money
from tests.contract.customer import Customer, new_customer
from tests.suite import Suite, new_id, refused


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


async def set_settings(ann: Customer, **fields: Any) -> notify_pb2.NotifySettings:  # noqa: ANN401
    settings = notify_pb2.NotifySettings(name=f"{ann.shop.name}/notifySettings", **fields)
    request = notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings, request_id=new_id())
    changed: notify_pb2.NotifySettings = await ann.shop.notify.UpdateNotifySettings(request)
    return changed


async def start(
    ann: Customer, phone: str = "", *, with_present: bool = False
) -> notify_pb2.StartPhoneBindingResponse:
    request = notify_pb2.StartPhoneBindingRequest(
        name=f"{ann.name}/contact",
        phone=phone or ann.phone,
        with_present_phone_code=with_present,
        request_id=new_id(),
    )
    started: notify_pb2.StartPhoneBindingResponse = await ann.shop.notify.StartPhoneBinding(request)
    return started


async def test_settings_are_there_before_anybody_made_any(ann: Customer) -> None:
    request = notify_pb2.GetNotifySettingsRequest(name=f"{ann.shop.name}/notifySettings")
    first = await ann.shop.notify.GetNotifySettings(request)
    assert (first.name, list(first.phone_region_codes), first.web_otp_host) == (
        request.name,
        [],
        "",
    )
    assert not first.HasField("code_spend_day_max")

    changed = await set_settings(ann, phone_region_codes=["GB", "DE"], etag=first.etag)
    assert list(changed.phone_region_codes) == ["DE", "GB"]
    assert await ann.shop.notify.GetNotifySettings(request) == changed
    assert (await refused(set_settings(ann, etag=first.etag))).reason == "ETAG_MISMATCH"


@pytest.mark.parametrize(
    ("fields", "violated"),
    [
        ({"phone_region_codes": ["DE", "ZZ"]}, "phone_region_codes[1]"),
        ({"phone_region_codes": ["de"]}, "phone_region_codes[0]"),
        ({"code_spend_day_max": to_money(100, "USD")}, "code_spend_day_max.currency_code"),
        ({"code_spend_day_max": to_money(0, "EUR")}, "code_spend_day_max"),
        ({"web_otp_host": "https://shop.example"}, "web_otp_host"),
        ({"web_otp_host": "localhost"}, "web_otp_host"),
        ({"web_otp_host": "shop.example #1234"}, "web_otp_host"),
        ({"phone_proof_days": 29}, "phone_proof_days"),
        ({"daily_message_max": 101}, "daily_message_max"),
        ({"merchant_display_name": "W" * 31}, "merchant_display_name"),
        ({"email_page_uri": "https://shop.example/email"}, "email_page_uri"),
    ],
)
async def test_settings_that_mean_nothing_are_refused_by_their_field(
    ann: Customer, fields: dict[str, Any], violated: str
) -> None:
    refusal = await refused(set_settings(ann, **fields))
    assert refusal.fields == {f"notify_settings.{violated}": "FIELD_INVALID"}


async def test_a_time_zone_that_nobody_has_is_refused_for_all_customers(ann: Customer) -> None:
    refusal = await refused(set_settings(ann, time_zone="Europe/Atlantis"))
    assert refusal.fields == {"notify_settings.time_zone": "TIME_ZONE_UNKNOWN"}


async def test_a_merchant_lists_the_countries_whose_phones_get_codes(ann: Customer) -> None:
    await set_settings(ann, phone_region_codes=["GB"])
    refusal = await refused(start(ann))
    assert refusal.fields == {"phone": "PHONE_COUNTRY_NOT_ALLOWED"}
    await set_settings(ann, phone_region_codes=["DE"])
    assert (await start(ann)).HasField("expire_time")


async def test_codes_of_a_day_cost_no_more_than_a_merchant_allows(ann: Customer) -> None:
    # The code of her own binding has cost ten cents or more already.
    await set_settings(ann, code_spend_day_max=to_money(1, "EUR"))
    refusal = await refused(start(ann))
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "CODE_BUDGET_SPENT")
    assert 0 < refusal.retry_seconds <= 24 * 3600


async def test_the_last_line_of_a_code_names_the_page_that_it_is_for(ann: Customer) -> None:
    await set_settings(ann, web_otp_host="shop.example")
    known = await ann.suite.sandbox.inbox(ann.phone)
    await start(ann)
    await ann.suite.sandbox.settle()
    [message] = (await ann.suite.sandbox.inbox(ann.phone))[len(known) :]
    assert re.fullmatch(
        r"([0-9]{8}) is your code .*\.\n@shop\.example #\1", message["body"], re.DOTALL
    )


# --- another phone --------------------------------------------------------------------------------


def new_phone() -> str:
    return f"+49170{random.randrange(10**8):08}"  # noqa: S311 - only has to be hers alone


async def newest_code(ann: Customer, phone: str) -> str:
    await ann.suite.sandbox.settle()
    return str((await ann.suite.sandbox.inbox(phone))[-1]["body"])[:8]


async def confirm(ann: Customer, code: str, present: str = "") -> notify_pb2.Contact:
    request = notify_pb2.ConfirmPhoneBindingRequest(
        name=f"{ann.name}/contact", code=code, present_phone_code=present, request_id=new_id()
    )
    contact: notify_pb2.Contact = await ann.shop.notify.ConfirmPhoneBinding(request)
    return contact


async def cancel(ann: Customer) -> notify_pb2.Contact:
    request = notify_pb2.CancelPhoneChangeRequest(name=f"{ann.name}/contact", request_id=new_id())
    contact: notify_pb2.Contact = await ann.shop.notify.CancelPhoneChange(request)
    return contact


async def unbind(ann: Customer) -> notify_pb2.Contact:
    request = notify_pb2.UnbindPhoneRequest(name=f"{ann.name}/contact", request_id=new_id())
    contact: notify_pb2.Contact = await ann.shop.notify.UnbindPhone(request)
    return contact


async def having(ann: Customer, phone: str) -> list[str]:
    request = notify_pb2.ListContactsRequest(parent=ann.shop.name, phone=phone)
    listed = await ann.shop.notify.ListContacts(request)
    return [contact.name for contact in listed.contacts]


async def test_a_phone_that_agrees_is_replaced_at_once(ann: Customer) -> None:
    phone = new_phone()
    await start(ann, phone, with_present=True)
    code, agreed = await newest_code(ann, phone), await newest_code(ann, ann.phone)
    changed = await confirm(ann, code, agreed)
    assert changed.masked_phone[-2:] == phone[-2:]
    assert await having(ann, phone) == [changed.name]
    assert await having(ann, ann.phone) == []


async def test_a_phone_that_does_not_agree_has_time_to_object(ann: Customer) -> None:
    phone = new_phone()
    await start(ann, phone)
    waiting = await confirm(ann, await newest_code(ann, phone))
    assert waiting.pending_masked_phone[-2:] == phone[-2:]
    await ann.suite.sandbox.settle()
    assert "about your orders go to" in (await ann.suite.sandbox.inbox(ann.phone))[-1]["body"]

    assert (await cancel(ann)).pending_masked_phone == ""
    assert (await refused(cancel(ann))).reason == "PHONE_CHANGE_NOT_PENDING"


async def test_a_phone_that_waited_is_bound_in_time(ann: Customer) -> None:
    phone = new_phone()
    await start(ann, phone)
    await confirm(ann, await newest_code(ann, phone))
    await ann.suite.advance(timedelta(hours=73))
    assert await having(ann, phone) == [f"{ann.name}/contact"]


async def test_without_a_bound_phone_nothing_is_ordered_or_changed(ann: Customer) -> None:
    order = await ann.subscribe()
    assert not (await unbind(ann)).masked_phone
    assert (await refused(unbind(ann))).reason == "PHONE_NOT_BOUND"
    refusal = await refused(start(ann, new_phone(), with_present=True))
    assert refusal.reason == "PHONE_NOT_BOUND"
    order.items[0].quantity = 3
    request = scheduler_pb2.UpdateStandingOrderRequest(
        standing_order=order,
        update_mask=field_mask_pb2.FieldMask(paths=["items"]),
        request_id=new_id(),
    )
    refusal = await refused(ann.shop.scheduler.UpdateStandingOrder(request))
    assert refusal.reason == "PHONE_NOT_BOUND"


# --- e-mail ---------------------------------------------------------------------------------------


async def start_email(ann: Customer) -> notify_pb2.StartEmailBindingResponse:
    request = notify_pb2.StartEmailBindingRequest(name=f"{ann.name}/contact", request_id=new_id())
    started: notify_pb2.StartEmailBindingResponse = await ann.shop.notify.StartEmailBinding(request)
    return started


async def confirm_email(ann: Customer, token: str) -> notify_pb2.Contact:
    request = notify_pb2.ConfirmEmailBindingRequest(
        name=f"{ann.name}/contact", token=token, request_id=new_id()
    )
    contact: notify_pb2.Contact = await ann.shop.notify.ConfirmEmailBinding(request)
    return contact


async def test_an_email_address_is_proved_by_a_link(ann: Customer) -> None:
    assert (await refused(start_email(ann))).reason == "EMAIL_NOT_SET"
    email = f"{new_id()}@example.com"
    contact = notify_pb2.Contact(name=f"{ann.name}/contact", email=email)
    await ann.shop.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())
    )
    assert (await refused(start_email(ann))).reason == "EMAIL_PAGE_NOT_SET"
    await set_settings(ann, email_page_uri="https://shop.example/email?token={token}")
    assert (await refused(confirm_email(ann, "x" * 20))).reason == "CODE_NOT_PENDING"
    await start_email(ann)
    await ann.suite.sandbox.settle()
    mails = await ann.suite.sandbox.mailbox(email)
    link = re.search(r"token=([a-z2-9]{20})\b", mails[-1]["text"])
    assert link is not None
    assert (await refused(confirm_email(ann, "x" * 20))).reason == "CODE_WRONG"
    assert (await confirm_email(ann, link[1])).HasField("email_bind_time")
    for _ in range(4):
        await start_email(ann)
    refusal = await refused(start_email(ann))
    assert (refusal.reason, refusal.retry_seconds > 0) == ("CODES_TOO_MANY", True)
    await ann.suite.advance(timedelta(hours=25))
    assert (await refused(confirm_email(ann, link[1]))).reason == "CODE_EXPIRED"
