"""What holds for any deployment, seen by the program of one merchant: `make contract TARGET=… TOKEN=…`.

By default it is the suite that the other tests use. Each run makes things of its own, whose ids end in
a tag, and needs neither the sandbox nor anybody else's token.
"""

import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf import field_mask_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2

from tests.contract.deployment import (
    KEYS_VARIABLE,
    TARGET_VARIABLE,
    calls_about,
    client_of,
    suite_of,
    targets,
)
from tests.contract.every_call import Call
from tests.contract.test_every_call import refusals
from tests.contract.test_refusals import NOT_FOUND
from tests.suite import Client, new_id, recorder, refused


@dataclass(frozen=True)
class Deployment:
    """One merchant's program, and every call it makes about things of this test."""

    client: Client
    tag: str

    @property
    def calls(self) -> dict[str, Call]:
        return calls_about(self.client.merchant, self.tag)

    async def make(self, name: str, **changes: Any) -> Any:  # noqa: ANN401
        return await self.calls[name].make(self.client, **changes)


@pytest.fixture
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    tag = uuid.uuid4().hex[:8]
    if TARGET_VARIABLE in os.environ and KEYS_VARIABLE not in os.environ:
        client = client_of(os.environ)
        yield Deployment(client, tag)
        otherwise = await recorder.repeat_all()
        await client.close()
    else:
        suite = suite_of(request)
        yield Deployment(suite.client(), tag)
        otherwise = await recorder.repeat_all()
        await suite.close()
    assert otherwise == []


@pytest.mark.parametrize(
    "text",
    ["dns:///gateway:1", "dns:///{service}:1", "catalog=a:1,scheduler=b:2,payments=c:3,notify=d:4"],
)
def test_a_target_is_one_for_all_a_pattern_or_a_list(text: str) -> None:
    assert set(targets(text)) == {"catalog", "scheduler", "payments", "notify"}
    with pytest.raises(ValueError, match="notify"):
        targets("catalog=a:1,scheduler=b:2,payments=c:3")


async def test_a_call_needs_a_token(deployment: Deployment) -> None:
    anonymous = Client(deployment.client._targets, deployment.client.merchant, "",
                      deployment.client._credentials)  # fmt: skip
    refused = await refusals(
        {name: call.make(anonymous) for name, call in deployment.calls.items()}
    )
    await anonymous.close()
    assert {refusal.reason for refusal in refused.values()} == {"TOKEN_MISSING"}


async def test_another_merchant_is_forbidden(deployment: Deployment) -> None:
    others = calls_about(f"other-{deployment.tag}", deployment.tag)
    refused = await refusals({name: call.make(deployment.client) for name, call in others.items()})
    assert {refusal.reason for refusal in refused.values()} == {"MERCHANT_FORBIDDEN"}


async def test_an_empty_request_is_refused_with_what_it_lacks(deployment: Deployment) -> None:
    calls = [call for call in deployment.calls.values() if not call.sends_stream]
    refused = await refusals({call.id: call.emptied().make(deployment.client) for call in calls})
    assert {refusal.reason for refusal in refused.values()} == {"FIELD_INVALID"}
    assert all(refusal.fields for refusal in refused.values())


async def test_a_page_is_of_a_size_and_of_its_list(deployment: Deployment) -> None:
    lists = [call for call in deployment.calls.values() if call.takes("page_token")]
    large = await refusals({c.id: c.make(deployment.client, page_size=1001) for c in lists})
    assert {refusal.reason for refusal in large.values()} == {"PAGE_SIZE_TOO_LARGE"}
    made_up = await refusals({c.id: c.make(deployment.client, page_token="x") for c in lists})
    assert {refusal.reason for refusal in made_up.values()} == {"PAGE_TOKEN_INVALID"}


async def test_what_nobody_made_is_not_found(deployment: Deployment) -> None:
    calls = deployment.calls
    calls["notify.UpdateContact"].request.allow_missing = False
    refused = await refusals({name: calls[name].make(deployment.client) for name in NOT_FOUND})
    assert {name: refusal.reason for name, refusal in refused.items()} == NOT_FOUND


async def test_lists_and_settings_are_answered(deployment: Deployment) -> None:
    for name in deployment.calls:
        method = name.partition(".")[2]
        if method.startswith("List") and method not in {
            "ListPrices", "ListRefunds", "ListDeliveries", "ListWebhookDeliveries"
        }:  # fmt: skip
            await deployment.make(name)
    await deployment.make("scheduler.ForecastDemand")
    await deployment.make("scheduler.GetSchedulerSettings")
    assert (await deployment.make("notify.PreviewNotice")).sms_text
    dry = deployment.calls["scheduler.ImportStandingOrders"]
    dry.request.config.dry_run = True
    assert (await dry.make(deployment.client)).imported_count == 0


async def test_a_product_is_created_and_changed_once_a_request(deployment: Deployment) -> None:
    request_id = new_id()
    made = await deployment.make("catalog.CreateProduct", request_id=request_id)
    assert await deployment.make("catalog.CreateProduct", request_id=request_id) == made
    taken = await refused(deployment.make("catalog.CreateProduct"))
    assert taken.reason == "PRODUCT_ALREADY_EXISTS"
    reused = await refused(deployment.make("catalog.DiscontinueProduct", request_id=request_id))
    assert reused.reason == "REQUEST_ID_REUSED"
    assert await deployment.make("catalog.GetProduct") == made

    for number in range(3):
        call = deployment.calls["catalog.CreatePrice"]
        if number:
            call.request.price.effective_time.seconds = 4_000_000_000 + number
        await call.make(deployment.client, price_id=f"p{number}")
    names: list[str] = []
    token = ""
    while token or not names:
        page = await deployment.make("catalog.ListPrices", page_size=2, page_token=token)
        names += [price.name.rpartition("/")[2] for price in page.prices]
        token = page.next_page_token
    assert names == ["p2", "p1", "p0"]

    untracked = await refused(deployment.make("catalog.AdjustStock"))
    assert untracked.reason == "STOCK_NOT_TRACKED"
    stale = await refused(deployment.make("catalog.DiscontinueProduct", etag='"999"'))
    assert stale.reason == "ETAG_MISMATCH"
    ended = await deployment.make("catalog.DiscontinueProduct", etag=made.etag)
    assert ended.state == catalog_pb2.Product.DISCONTINUED
    over = await refused(deployment.make("catalog.CreatePrice", price_id="p9"))
    assert over.reason == "PRODUCT_DISCONTINUED"


async def test_a_mask_says_what_of_a_contact_is_changed(deployment: Deployment) -> None:
    made = await deployment.make("notify.UpdateContact")
    wanted = notify_pb2.Contact(name=made.name, display_name="Anna", email="anna@example.com")
    masked = notify_pb2.UpdateContactRequest(
        contact=wanted,
        update_mask=field_mask_pb2.FieldMask(paths=["email"]),
        request_id=new_id(),
    )
    changed = await deployment.client.notify.UpdateContact(masked)
    assert (changed.display_name, changed.email) == ("Ann", "anna@example.com")
    assert await deployment.make("notify.GetContact") == changed
