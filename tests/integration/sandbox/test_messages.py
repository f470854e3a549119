"""The SMS gateway and the mail server, and the inboxes of whom they deliver to."""

import smtplib
import time
from typing import Any

import aiohttp
import pytest

from tests.integration.sandbox.process import Sandbox

PHONE = "+493012345678"


async def inbox(sandbox: Sandbox, to: str, more: str = "") -> list[dict[str, Any]]:
    # A plus sign in a query string stands for a space unless it is escaped.
    answer = await sandbox.ask("GET", f"/sms/v1/messages?to=%2B{to.removeprefix('+')}{more}")
    data: list[dict[str, Any]] = answer.body["data"]
    return data


async def test_an_sms_arrives_in_the_inbox_of_its_phone_alone(sandbox: Sandbox) -> None:
    sent = await sandbox.sms(PHONE, "Your order is coming", key="1")
    await sandbox.sms("+493087654321", "Somebody else's", key="2")

    assert (sent.status, sent.body["status"]) == (201, "delivered")
    assert sent.body["created"] == "2026-01-31T08:00:00Z"
    assert [message["body"] for message in await inbox(sandbox, PHONE)] == ["Your order is coming"]


async def test_an_inbox_can_be_read_on_from_the_last_message_seen(sandbox: Sandbox) -> None:
    first, second = [await sandbox.sms(PHONE, body, key=body) for body in ("one", "two")]

    assert await inbox(sandbox, PHONE, f"&after={first.body['id']}") == [second.body]


async def test_the_same_key_delivers_once(sandbox: Sandbox) -> None:
    first = await sandbox.sms(PHONE, key="1")
    again = await sandbox.sms(PHONE, key="1")
    other = await sandbox.sms(PHONE, "Something else", key="1")

    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    assert other.status == 400
    assert len(await inbox(sandbox, PHONE)) == 1


async def test_a_number_that_does_not_exist_is_refused(sandbox: Sandbox) -> None:
    answer = await sandbox.sms("+15005550001", key="1")

    assert (answer.status, answer.body["code"]) == (400, "invalid_number")


async def test_an_undeliverable_message_never_reaches_the_inbox(sandbox: Sandbox) -> None:
    sent = await sandbox.sms("+15005550002", key="1")

    assert (sent.status, sent.body["status"]) == (201, "undelivered")
    assert await inbox(sandbox, "+15005550002") == []
    assert await inbox(sandbox, "+15005550002", "&status=undelivered") == [sent.body]


async def test_a_gateway_unavailable_twice_delivers_the_third_time(
    sandbox: Sandbox,
) -> None:
    statuses = [(await sandbox.sms("+15005550003", key="1")).status for _ in range(4)]

    assert statuses == [503, 503, 201, 201]
    assert len(await inbox(sandbox, "+15005550003")) == 1


async def test_an_answer_that_is_lost_leaves_the_message_delivered_once(sandbox: Sandbox) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await sandbox.sms("+15005550004", key="1")
    again = await sandbox.sms("+15005550004", key="1")

    assert again.status == 201
    assert await inbox(sandbox, "+15005550004") == [again.body]


async def test_a_message_can_be_looked_up_by_its_sender(sandbox: Sandbox) -> None:
    sent = await sandbox.sms(PHONE, key="1")
    headers = {"Authorization": "Bearer key_of_the_gateway"}
    path = f"/sms/v1/messages/{sent.body['id']}"

    assert (await sandbox.ask("GET", path, headers=headers)).body == sent.body
    assert (await sandbox.ask("GET", path)).status == 401


@pytest.mark.parametrize(
    ("to", "body", "code"),
    [("030 123", "Hello", "invalid_number"), (PHONE, "", "invalid_body")],
)
async def test_a_bad_message_is_refused(sandbox: Sandbox, to: str, body: str, code: str) -> None:
    answer = await sandbox.sms(to, body, key="1")

    assert (answer.status, answer.body["code"]) == (400, code)


async def test_messages_survive_a_kill(sandbox: Sandbox) -> None:
    sent = await sandbox.sms(PHONE, key="1")
    await sandbox.mail(["ann@example.test"], "<1@test>")
    await sandbox.kill_and_restart()

    assert await inbox(sandbox, PHONE) == [sent.body]
    assert len(await mailbox(sandbox, "ann@example.test")) == 1


async def test_a_gateway_may_say_of_what_it_delivers_that_it_did_not(sandbox: Sandbox) -> None:
    sent = await sandbox.sms("+15005550005", key="1")

    assert (sent.status, sent.body["status"]) == (201, "undelivered")
    assert len(await inbox(sandbox, "+15005550005")) == 1


async def test_an_outage_of_the_gateway_leaves_the_phones_readable(sandbox: Sandbox) -> None:
    await sandbox.sms(PHONE, key="1")
    await sandbox.ask("PUT", "/outages/sms", json={"on": True})

    assert (await sandbox.sms(PHONE, "Later", key="2")).status == 503
    assert len(await inbox(sandbox, PHONE)) == 1


@pytest.mark.parametrize(
    ("kind", "told", "arrived"),
    [("falsely_delivered", "delivered", 0), ("falsely_undelivered", "undelivered", 1)],
)
async def test_a_gateway_says_the_opposite_of_what_became_of_a_message(
    sandbox: Sandbox, kind: str, told: str, arrived: int
) -> None:
    await sandbox.ask("PUT", "/outages/sms", json={"on": True, "kind": kind})

    assert (await sandbox.sms(PHONE, key="1")).body["status"] == told
    assert len(await inbox(sandbox, PHONE)) == arrived


async def test_a_slow_mail_server_has_kept_what_its_client_gave_up(sandbox: Sandbox) -> None:
    await sandbox.ask(
        "PUT", "/outages/mail", json={"on": True, "kind": "slow", "seconds": 0.3, "times": 1}
    )
    started = time.monotonic()
    await sandbox.mail(["ann@example.test"], "<1@test>")
    assert time.monotonic() - started > 0.3
    await sandbox.mail(["ann@example.test"], "<1@test>")

    [message] = await mailbox(sandbox, "ann@example.test")
    assert message["deliveries"] == 2


async def mailbox(sandbox: Sandbox, to: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await sandbox.ask("GET", f"/mail/v1/messages?to={to}")).body[
        "data"
    ]
    return data


async def test_a_mail_arrives_for_each_of_its_recipients(sandbox: Sandbox) -> None:
    await sandbox.mail(["ann@example.test", "bob@example.test"], "<1@test>", "Grüße")

    [message] = await mailbox(sandbox, "ann@example.test")
    assert message["message_id"] == "<1@test>"
    assert (message["from"], message["subject"]) == ("orders@example.test", "Your order")
    assert message["text"].strip() == "Grüße"
    assert len(await mailbox(sandbox, "bob@example.test")) == 1


async def test_a_mail_delivered_twice_is_kept_once_and_counted(sandbox: Sandbox) -> None:
    for _ in range(2):
        await sandbox.mail(["ann@example.test"], "<1@test>")

    [message] = await mailbox(sandbox, "ann@example.test")
    assert message["deliveries"] == 2
    assert (await sandbox.ask("GET", "/record")).body["mail"] == {"messages": 1, "deliveries": 2}


async def test_an_outage_of_the_mail_server_is_temporary_to_its_clients(sandbox: Sandbox) -> None:
    await sandbox.ask("PUT", "/outages/mail", json={"on": True})
    with pytest.raises(smtplib.SMTPDataError) as refused:
        await sandbox.mail(["ann@example.test"], "<1@test>")
    await sandbox.ask("PUT", "/outages/mail", json={"on": False})
    await sandbox.mail(["ann@example.test"], "<1@test>")

    assert refused.value.smtp_code == 451
    [message] = await mailbox(sandbox, "ann@example.test")
    assert message["deliveries"] == 1
