"""Pages in a browser on the same machine, and clients without a key, learn and change nothing."""

import aiohttp
import pytest

from tests.integration.sandbox.process import (
    PROVIDER_API_KEY,
    SMS_API_KEY,
    Sandbox,
    StartSandbox,
)

ITS_OWN = (
    "localhost:{port}",
    "127.0.0.1:{port}",
    "LOCALHOST",
    "localhost.",
    "127.1.2.3",
    "[::1]:{port}",
    "sandbox:8400",
    "other",
)
OTHERS = (
    "evil.example",
    "evil.example:{port}",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.168.0.7",
    "localhost@evil.example",
)


async def test_the_sandbox_answers_by_its_own_names_alone(start_sandbox: StartSandbox) -> None:
    sandbox = await start_sandbox(SANDBOX_ALLOWED_HOSTS="sandbox, other")
    for host in (*ITS_OWN, *OTHERS):
        headers = {"Host": host.format(port=sandbox.port)}
        answer = await sandbox.ask("GET", "/clock", headers=headers)
        assert answer.status == (200 if host in ITS_OWN else 403), host
        # Probes ask by the address of a pod.
        assert (await sandbox.ask("GET", "/healthz", headers=headers)).status == 200


SAME_ORIGIN: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "http://127.0.0.1:{port}"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
)
OTHER_ORIGIN = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)


async def test_a_page_of_another_origin_changes_nothing(sandbox: Sandbox) -> None:
    message = {"to": "+491701234567", "from": "Acme", "body": "x"}
    key = {"Authorization": f"Bearer {SMS_API_KEY}"}
    for headers in (*OTHER_ORIGIN, *SAME_ORIGIN):
        sent = {name: value.format(port=sandbox.port) for name, value in headers.items()}
        answer = await sandbox.ask("PUT", "/outages/mail", json={"on": True}, headers=sent)
        posted = await sandbox.ask(
            "POST", "/sms/v1/messages", json=message, headers={**key, **sent}
        )
        shown = (await sandbox.ask("GET", "/outages", headers=sent)).body
        taken = headers in SAME_ORIGIN
        assert shown["mail"]["on"] is taken, headers
        assert (answer.status, posted.status) == ((200, 201) if taken else (403, 403)), headers


@pytest.mark.parametrize("path", ["/sms/v1/messages", "/mail/v1/messages"])
async def test_what_everybody_received_takes_a_key(sandbox: Sandbox, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}):
        assert (await sandbox.ask("GET", path, headers=headers)).status == 401
    for key in (PROVIDER_API_KEY, SMS_API_KEY):
        authorized = {"Authorization": f"Bearer {key}"}
        assert (await sandbox.ask("GET", path, headers=authorized)).body["data"] == []
    assert (await sandbox.ask("GET", path, query={"to": "+491701234567"})).status == 200


async def test_two_keys_are_none(sandbox: Sandbox) -> None:
    good = ("Authorization", f"Bearer {PROVIDER_API_KEY}")
    for second in (good, ("Authorization", "Bearer x")):
        url = f"{sandbox.url}/v1/payment_intents"
        async with (
            aiohttp.ClientSession(headers=[good, second]) as http,
            http.get(url) as response,
        ):
            assert response.status == 401
