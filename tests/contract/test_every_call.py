"""What holds for every call: who may make it, what it needs, how much it carries."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from tests.contract.every_call import Call, every_method, platform_calls, suite_calls
from tests.suite import Client, Refusal, Suite, new_id, refused

PLATFORM_CALLS = platform_calls("acme")
SUITE_CALLS = suite_calls("acme")
CALLS = [*PLATFORM_CALLS, *SUITE_CALLS]
LISTS = [call for call in PLATFORM_CALLS if call.takes("page_size")]
MUTATIONS = [call for call in PLATFORM_CALLS if call.takes("request_id")]
SERVICES = ("catalog", "scheduler", "payments", "notify")
MESSAGE_MAX_BYTES = 4 * 1024**2


async def refusals(calls: dict[str, Awaitable[Any]]) -> dict[str, Refusal]:
    """Why each of many calls was refused; there are some."""
    assert calls
    answers = await asyncio.gather(*(refused(call) for call in calls.values()))
    return dict(zip(calls, answers, strict=True))


def all_alike(refused: dict[str, Refusal], code: str, reason: str, *fields: str) -> None:
    """Every call was refused in this way, by its own service."""
    expected = {
        name: (code, reason, f"{name.partition('.')[0]}.recurring", list(fields))
        for name in refused
    }
    assert {
        name: (refusal.code, refusal.reason, refusal.domain, list(refusal.fields))
        for name, refusal in refused.items()
    } == expected


@pytest.fixture
def acme(suite: Suite) -> Client:
    return suite.client("acme")


def test_no_call_is_left_out() -> None:
    assert {call.id for call in CALLS} == every_method()


async def test_nobody_is_answered_without_a_token(suite: Suite) -> None:
    anonymous = suite.with_token("")
    refused = await refusals({call.id: call.make(anonymous) for call in CALLS})
    all_alike(refused, "UNAUTHENTICATED", "TOKEN_MISSING")


async def test_nobody_is_answered_with_a_bad_token(suite: Suite, acme: Client) -> None:
    forger = suite.with_token(acme.token[:-4] + "AAAA")
    refused = await refusals({call.id: call.make(forger) for call in CALLS})
    all_alike(refused, "UNAUTHENTICATED", "TOKEN_INVALID")


async def test_a_program_needs_the_scope_of_its_calls(suite: Suite) -> None:
    nobody = suite.client("acme", "reader")
    refused = await refusals({call.id: call.make(nobody) for call in CALLS})
    all_alike(refused, "PERMISSION_DENIED", "SCOPE_MISSING")


async def test_a_merchant_makes_no_call_of_the_suite(acme: Client) -> None:
    refused = await refusals({call.id: call.make(acme) for call in SUITE_CALLS})
    all_alike(refused, "PERMISSION_DENIED", "SCOPE_MISSING")


async def test_someone_elses_merchant_is_forbidden(suite: Suite) -> None:
    other = suite.client()
    refused = await refusals({call.id: call.make(other) for call in PLATFORM_CALLS})
    all_alike(refused, "PERMISSION_DENIED", "MERCHANT_FORBIDDEN")


async def test_an_oversized_page_is_refused(acme: Client) -> None:
    refused = await refusals({call.id: call.make(acme, page_size=1001) for call in LISTS})
    all_alike(refused, "INVALID_ARGUMENT", "PAGE_SIZE_TOO_LARGE", "page_size")


async def test_a_negative_page_is_refused(acme: Client) -> None:
    refused = await refusals({call.id: call.make(acme, page_size=-1) for call in LISTS})
    all_alike(refused, "INVALID_ARGUMENT", "PAGE_SIZE_TOO_LARGE", "page_size")


async def test_a_made_up_page_token_is_refused(acme: Client) -> None:
    refused = await refusals({call.id: call.make(acme, page_token="made-up") for call in LISTS})
    all_alike(refused, "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token")


@pytest.mark.parametrize("request_id", ["", "1", "{0190b0c2-5e1c-7c3a-8d5e-1f2a3b4c5d6e}"])
async def test_a_mutation_needs_a_request_id(acme: Client, request_id: str) -> None:
    refused = await refusals(
        {call.id: call.make(acme, request_id=request_id) for call in MUTATIONS}
    )
    all_alike(refused, "INVALID_ARGUMENT", "FIELD_INVALID", "request_id")


@pytest.mark.parametrize("text", ["", "acme", "merchants/acme", "merchants/acme/nothings/x"])
async def test_a_name_of_another_form_is_refused(acme: Client, text: str) -> None:
    named = {call.id: call.make(acme, name=text) for call in PLATFORM_CALLS if call.takes("name")}
    for refusal in (await refusals(named)).values():
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert "name" in refusal.fields


async def test_an_empty_request_is_refused_with_what_it_lacks(suite: Suite, acme: Client) -> None:
    empty = {call.id: call.emptied().make(acme) for call in PLATFORM_CALLS if not call.sends_stream}
    inside = {service: suite.suite_client(service) for service in SERVICES}
    empty |= {call.id: call.emptied().make(inside[call.asked_by]) for call in SUITE_CALLS}
    for refusal in (await refusals(empty)).values():
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert refusal.fields


async def test_bytes_that_are_no_message_are_refused(suite: Suite, acme: Client) -> None:
    inside = {service: suite.suite_client(service) for service in SERVICES}
    refused = await refusals(
        {call.id: call.send(acme, b"\xff") for call in PLATFORM_CALLS}
        | {call.id: call.send(inside[call.asked_by], b"\xff") for call in SUITE_CALLS}
    )
    all_alike(refused, "INVALID_ARGUMENT", "MESSAGE_MALFORMED")


async def test_a_request_id_belongs_to_one_request_of_a_service(suite: Suite) -> None:
    merchant = suite.client()
    mine = [call for call in platform_calls(merchant.merchant) if call.takes("request_id")]
    used = {service: new_id() for service in SERVICES}
    calls = {call.id: call for call in mine}
    await calls["catalog.CreateProduct"].make(merchant, request_id=used["catalog"])
    await calls["scheduler.UpdateSchedulerSettings"].make(merchant, request_id=used["scheduler"])
    await calls["payments.CreatePaymentMethod"].make(merchant, request_id=used["payments"])
    await calls["notify.UpdateContact"].make(merchant, request_id=used["notify"])
    calls["catalog.CreateProduct"].request.product.title = "Other tea"
    calls["scheduler.UpdateSchedulerSettings"].request.scheduler_settings.etag = '"0"'
    calls["payments.CreatePaymentMethod"].request.payment_method.provider_token = "pm_card_other"
    calls["notify.UpdateContact"].request.contact.display_name = "Anna"
    refused = await refusals(
        {call.id: call.make(merchant, request_id=used[call.service]) for call in mine}
    )
    all_alike(refused, "INVALID_ARGUMENT", "REQUEST_ID_REUSED", "request_id")


@pytest.mark.parametrize("service", SERVICES)
async def test_an_oversized_message_is_refused(acme: Client, service: str) -> None:
    call = next(call for call in LISTS if call.service == service)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.make(acme, page_token="x" * MESSAGE_MAX_BYTES)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# Every merchant has the rule packs that come with the catalog.
@pytest.mark.parametrize(
    "call", [it for it in LISTS if it.method != "ListRulePacks"], ids=lambda call: call.id
)
async def test_a_new_merchant_has_empty_lists(suite: Suite, call: Call) -> None:
    merchant = suite.client()
    [own] = [
        platform_call
        for platform_call in platform_calls(merchant.merchant)
        if platform_call.id == call.id
    ]
    if call.method in {"ListPrices", "ListRefunds", "ListDeliveries", "ListWebhookDeliveries"}:
        assert (await refused(own.make(merchant))).code == "NOT_FOUND"
    else:
        # Neither entries nor a token of the next page. A report says which days it is of.
        answer = await own.make(merchant)
        days = {"start_date", "end_date", "time_zone", "as_of_time"}
        assert {field.name for field, _ in answer.ListFields()} <= days
