"""Whose phones are sent codes, and what these may cost."""

import re
from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2

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


async def start(ann: Customer, phone: str = "") -> notify_pb2.StartPhoneBindingResponse:
    request = notify_pb2.StartPhoneBindingRequest(
        name=f"{ann.name}/contact", phone=phone or ann.phone, request_id=new_id()
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
    ],
)
async def test_settings_that_mean_nothing_are_refused_by_their_field(
    ann: Customer, fields: dict[str, Any], violated: str
) -> None:
    refusal = await refused(set_settings(ann, **fields))
    assert refusal.fields == {f"notify_settings.{violated}": "FIELD_INVALID"}


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
