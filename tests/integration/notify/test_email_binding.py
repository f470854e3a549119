"""The proof that an e-mail address is its owner's."""

import re
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2

from services.runtime.errors import Problem
from tests.integration.notify.suite import ANN, Notify, order_confirmed

EMAIL = "ann@example.com"
PAGE = "https://shop.example/email?c={customer}&t={token}"


async def reason(call: Awaitable[Any]) -> str:
    with pytest.raises(Problem) as refused:
        await call
    return refused.value.reason


async def set_up(notify: Notify, **fields: Any) -> None:  # noqa: ANN401
    settings = notify_pb2.NotifySettings(name="merchants/acme/notifySettings", **fields)
    request = notify_pb2.UpdateNotifySettingsRequest(notify_settings=settings)
    await notify.call("UpdateNotifySettings", request)


@pytest.fixture
async def ann(notify: Notify) -> Notify:
    await set_up(notify, email_page_uri=PAGE, proved_email_only=True)
    await notify.contact(email=EMAIL)
    return notify


async def start(notify: Notify) -> None:
    request = notify_pb2.StartEmailBindingRequest(name=f"{ANN}/contact")
    await notify.call("StartEmailBinding", request)


async def token(notify: Notify) -> str:
    """The token of the link that came last."""
    await start(notify)
    await notify.deliver()
    text = (await notify.mailbox(EMAIL))[-1]["text"]
    link = re.search(r"https://shop\.example/email\?c=ann&t=([a-z2-9]{20})\b", text)
    assert link is not None, text
    return link[1]


async def confirm(notify: Notify, given: str) -> notify_pb2.Contact:
    request = notify_pb2.ConfirmEmailBindingRequest(name=f"{ANN}/contact", token=given)
    contact: notify_pb2.Contact = await notify.call("ConfirmEmailBinding", request)
    return contact


async def test_a_link_proves_the_address_once(ann: Notify) -> None:
    given = await token(ann)
    assert (await confirm(ann, given)).HasField("email_bind_time")
    assert await reason(confirm(ann, given)) == "CODE_NOT_PENDING"


async def test_a_link_is_not_kept_and_holds_for_a_day(ann: Notify) -> None:
    given = await token(ann)
    assert given not in str(await ann.notices())
    assert await reason(confirm(ann, given[::-1])) == "CODE_WRONG"
    ann.clock.move(timedelta(hours=24))
    assert await reason(confirm(ann, given)) == "CODE_EXPIRED"


async def test_another_address_is_not_proved(ann: Notify) -> None:
    given = await token(ann)
    await ann.contact(email="other@example.com")
    assert await reason(confirm(ann, given)) == "CODE_NOT_PENDING"
    await ann.contact(email=EMAIL)
    await confirm(ann, await token(ann))
    assert not (await ann.contact(email="other@example.com")).HasField("email_bind_time")


async def test_an_address_gets_no_facts_about_money_before_it_is_proved(ann: Notify) -> None:
    await ann.receive(order_confirmed(), event_key="a")
    await ann.deliver()
    assert await ann.mailbox(EMAIL) == []
    await confirm(ann, await token(ann))
    await ann.receive(order_confirmed(cycle=2), event_key="b")
    await ann.deliver()
    assert "Espresso" in (await ann.mailbox(EMAIL))[-1]["text"]


async def test_a_sixth_link_within_an_hour_is_refused(ann: Notify) -> None:
    for _ in range(5):
        await start(ann)
    assert await reason(start(ann)) == "CODES_TOO_MANY"


async def test_without_an_address_or_a_page_there_is_no_link(notify: Notify) -> None:
    await notify.contact()
    assert await reason(start(notify)) == "EMAIL_NOT_SET"
    await notify.contact(email=EMAIL)
    assert await reason(start(notify)) == "EMAIL_PAGE_NOT_SET"
