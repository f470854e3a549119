"""The platform in the sandbox that receives webhooks."""

import base64
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.integration.sandbox.process import START, Sandbox

SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
NOW = int(datetime.fromisoformat(START).timestamp())
BODY = '{"type": "recurring.catalog.v1.StockOut"}'


def signed(timestamp: int = NOW, secret: str = SECRET, body: str = BODY) -> Mapping[str, str]:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"evt-1.{timestamp}.{body}".encode(), "sha256")
    return {
        "webhook-id": "evt-1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


async def test_what_is_signed_is_answered_as_was_set_and_the_rest_refused(sandbox: Sandbox) -> None:
    other = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    await sandbox.ask("PUT", "/webhooks/shop", json={"secrets": [other, SECRET], "status": 503})
    statuses = []
    for headers in (signed(), signed(NOW - 600), signed(body="{}"), {}):
        async with sandbox.http.post(
            f"{sandbox.url}/webhooks/shop", data=BODY, headers=headers
        ) as response:
            statuses.append(response.status)
    shown = (await sandbox.ask("GET", "/webhooks/shop")).body["data"]

    assert statuses == [503, 401, 401, 401]
    assert [one["verified"] for one in shown] == [True, False, False, False]
    assert shown[0]["event"] == {"type": "recurring.catalog.v1.StockOut"}


async def test_what_an_endpoint_cannot_be_told_is_refused(sandbox: Sandbox) -> None:
    unheard: list[Any] = [[], {"secrets": "x"}, {"secrets": [1]}, {"status": 100}]
    for wanted in unheard:
        assert (await sandbox.ask("PUT", "/webhooks/shop", json=wanted)).status == 400
