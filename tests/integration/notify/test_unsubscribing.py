"""Readers of e-mail ask for no more of it with one click, where it can be muted (RFC 8058)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import pytest
from recurring.notify.v1 import notify_pb2

from deploy.embedded.ports import free_ports
from services.notify import workers
from services.notify.api.callbacks import (
    HTTP_LIMITS,
    UNSUBSCRIBE_PAGES,
    CallbackReceiver,
    unsubscriptions,
)
from services.notify.application.unsubscribing import UNSUBSCRIBE_PATH, UnsubscribeLinks
from services.notify.clients.gateway import Message
from services.notify.domain.notices import Attempt, Channel, Verdict
from services.runtime.http_server import HttpServer
from tests.integration.notify.suite import ANN, Notify, order_skipped, order_upcoming

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@dataclass
class Mailbox:
    """Takes all mail, and where notify is reached, which the mail names."""

    url: str
    messages: list[Message] = field(default_factory=list)
    is_away: bool = False

    async def send(self, message: Message) -> Attempt:
        if self.is_away:
            return Attempt(Verdict.TEMPORARY, "421")
        self.messages.append(message)
        return Attempt(Verdict.DELIVERED)


@pytest.fixture
async def mailbox(notify: Notify) -> AsyncIterator[Mailbox]:
    [port] = free_ports(1)
    box = Mailbox(f"http://127.0.0.1:{port}")
    links = UnsubscribeLinks(notify.database.keyring, box.url)
    take = unsubscriptions(links, notify.database, notify.clock)
    receiver = CallbackReceiver({UNSUBSCRIBE_PATH: take}, UNSUBSCRIBE_PAGES)
    server = HttpServer(receiver.answer, HTTP_LIMITS)
    await server.start(f"127.0.0.1:{port}")
    notify.deliveries = workers.Deliveries(
        notify.database, notify.clock, {Channel.EMAIL: box}, notify.documents, public_url=box.url
    )
    yield box
    await server.stop(0)


async def is_muted(notify: Notify) -> bool:
    request = notify_pb2.GetContactRequest(name=f"{ANN}/contact")
    return bool((await notify.call("GetContact", request)).preferences.email_muted)


async def test_one_click_ends_the_mail_that_can_be_muted(notify: Notify, mailbox: Mailbox) -> None:
    await notify.contact(email="ann@example.com")
    await notify.receive(order_skipped())
    await notify.deliver()
    [skipped] = mailbox.messages
    async with aiohttp.ClientSession() as browser:
        async with browser.get(skipped.unsubscribe_uri) as page:
            assert "<form method=" in await page.text()
        looked = await is_muted(notify)
        async with browser.post(skipped.unsubscribe_uri, data=ONE_CLICK) as answer:
            assert answer.status == 200

    assert not looked
    assert await is_muted(notify)
    await notify.receive(order_skipped(cycle=2), event_key="second")
    await notify.receive(order_upcoming(cycle=3), event_key="third")
    await notify.deliver()
    # What a charge depends on goes out all the same, and offers no way to end it.
    [_, upcoming] = mailbox.messages
    assert upcoming.unsubscribe_uri == ""


async def test_a_link_that_nobody_made_changes_nothing(notify: Notify, mailbox: Mailbox) -> None:
    await notify.contact(email="ann@example.com")
    async with aiohttp.ClientSession() as browser:
        for token in ("", "x", "A" * 200):
            uri = f"{mailbox.url}{UNSUBSCRIBE_PATH}?token={token}"
            async with browser.post(uri, data=ONE_CLICK) as answer:
                assert answer.status == 400

    assert not await is_muted(notify)


async def test_mail_that_waits_is_not_sent_to_who_wants_no_more_of_it(
    notify: Notify, mailbox: Mailbox
) -> None:
    await notify.contact(email="ann@example.com")
    mailbox.is_away = True
    await notify.receive(order_skipped())
    await notify.receive(order_upcoming(cycle=3), event_key="second")
    await notify.deliver()
    await notify.contact(preferences=notify_pb2.Contact.Preferences(email_muted=True))
    mailbox.is_away = False
    notify.clock.move(timedelta(minutes=1))
    await notify.deliver()

    [upcoming] = mailbox.messages
    assert "comes to 12.50 EUR" in upcoming.text
