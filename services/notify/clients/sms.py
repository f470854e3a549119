"""The SMS gateway, over HTTP."""

from http import HTTPStatus
from typing import Any

from services.notify.clients.gateway import FAILURE_UNREACHABLE, TIMEOUT_SECONDS, Message
from services.notify.domain.notices import Attempt, Verdict
from services.runtime.http_client import Answer, HttpClient, HttpError

SMS_CONNECTIONS_MAX = 50
FAILURE_CODE_MAX_CHARACTERS = 60

# Other answers are about us or the moment, not about the message, and are worth another attempt.
_REFUSED_FOR_GOOD = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.GONE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}


class SmsGateway:
    """Posts messages as JSON; the Idempotency-Key lets one arrive once however often it is sent."""

    def __init__(self, base_url: str, api_key: str, sender: str) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/messages"
        self._sender = sender
        self._http = HttpClient(
            connections_max=SMS_CONNECTIONS_MAX,
            timeout_seconds=TIMEOUT_SECONDS,
            headers={"Authorization": f"Bearer {api_key}"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def send(self, message: Message) -> Attempt:
        """Send an SMS."""
        body = {"to": message.address, "from": self._sender, "body": message.text}
        try:
            answer = await self._http.request(
                "POST", self._url, json=body, headers={"Idempotency-Key": message.key}
            )
        except (HttpError, ValueError):
            # It may have arrived; the same key makes it safe to ask again.
            return Attempt(Verdict.TEMPORARY, FAILURE_UNREACHABLE)
        return _sms_attempt(answer.status, _object(answer))


def _object(answer: Answer) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _sms_attempt(status: int, answer: dict[str, Any]) -> Attempt:
    if status in {HTTPStatus.OK, HTTPStatus.CREATED}:
        if answer.get("status") == "delivered":
            return Attempt(Verdict.DELIVERED)
        return Attempt(Verdict.PERMANENT, _code(answer.get("status"), status))
    verdict = Verdict.PERMANENT if status in _REFUSED_FOR_GOOD else Verdict.TEMPORARY
    return Attempt(verdict, _code(answer.get("code"), status))


def _code(named: object, status: int) -> str:
    """The gateway's own name for a failure, or its status if it has none."""
    if isinstance(named, str) and named.isascii() and named.isprintable():
        return named[:FAILURE_CODE_MAX_CHARACTERS] or str(status)
    return str(status)
