"""What the page of phones and mail asks, and who gets an answer."""

import asyncio
from typing import Any

import pytest

from tests.integration.sandbox.process import SMS_API_KEY, Sandbox

PHONE, ADDRESS = "+493012345678", "ann@example.test"
KEY = {"Authorization": f"Bearer {SMS_API_KEY}"}


async def messages(sandbox: Sandbox, version: str = "") -> dict[str, Any]:
    query = {"to": PHONE, "version": version}
    body: dict[str, Any] = (await sandbox.ask("GET", "/inbox/v1/messages", query=query)).body
    return body


async def test_who_received_anything_is_listed_for_a_key(sandbox: Sandbox) -> None:
    await sandbox.sms(PHONE, key="1")
    await sandbox.mail([ADDRESS], "<1@test>")
    listed = await sandbox.ask("GET", "/inbox/v1/recipients", headers=KEY)

    assert {it["to"]: it["messages"] for it in listed.body["recipients"]} == {PHONE: 1, ADDRESS: 1}
    assert (await sandbox.ask("GET", "/inbox/v1/recipients")).status == 401


async def test_an_answer_waits_for_another_message_than_those_known(sandbox: Sandbox) -> None:
    before = await messages(sandbox)
    waiting = asyncio.create_task(messages(sandbox, before["version"]))
    await sandbox.sms("+493087654321", "Somebody else's", key="1")
    await sandbox.sms(PHONE, "Mine", key="2")

    after = await waiting
    assert [message["body"] for message in after["messages"]] == ["Mine"]
    assert after["version"] != before["version"]


async def test_messages_of_nobody_are_refused(sandbox: Sandbox) -> None:
    answer = await sandbox.ask("GET", "/inbox/v1/messages")

    assert answer.status == 400
    assert answer.body["error"].startswith("to: ")


@pytest.mark.parametrize(
    "path", ["mail_1?to=bob@example.test", "mail_9?to=ann@example.test", "x?to=y"]
)
async def test_a_mail_is_shown_to_whoever_names_its_recipient(sandbox: Sandbox, path: str) -> None:
    await sandbox.mail([ADDRESS], "<1@test>")
    async with sandbox.http.get(f"{sandbox.url}/inbox/v1/mail/{path}") as refused:
        assert refused.status == 404
    async with sandbox.http.get(f"{sandbox.url}/inbox/v1/mail/mail_1?to={ADDRESS}") as shown:
        assert shown.status == 200
        assert shown.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


async def test_a_page_that_waits_does_not_keep_the_sandbox_from_ending(sandbox: Sandbox) -> None:
    known = await messages(sandbox)
    waiting = asyncio.create_task(messages(sandbox, known["version"]))
    await sandbox.sms("+493087654321", "Meanwhile", key="1")

    assert await sandbox.stop() == 0
    await asyncio.wait([waiting])
    _ = waiting.exception()
