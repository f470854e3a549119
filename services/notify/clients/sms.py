"""An SMS gateway over HTTP that knows idempotency keys, and says later what became of messages."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from services.notify.clients.gateway import FAILURE_UNREACHABLE, TIMEOUT_SECONDS, Message
from services.notify.domain.notices import Attempt, Verdict
from services.notify.domain.receipts import Receipt, ReceiptStatus
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
# The gateway did not take it: we may not, have not paid, or it has too much to do.
_REFUSED_BY_ITSELF = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
}

# What a message that was taken can be. What is not named here is on its way.
_RECEIPTS = {
    "delivered": ReceiptStatus.DELIVERED,
    "undelivered": ReceiptStatus.FAILED,
    "expired": ReceiptStatus.EXPIRED,
}
ON_ITS_WAY = "accepted"
# Codes by which a gateway says that the fault is not the number's, and will pass.
_PASSING = frozenset({"carrier_unavailable", "throttled"})


class SmsGateway:
    """Posts messages as JSON; the Idempotency-Key lets one arrive once however often it is sent."""

    name = "generic"

    def __init__(
        self, base_url: str, api_key: str, sender: str, receipt_url: str = "", name: str = name
    ) -> None:
        """`receipt_url` is where the gateway says by itself what became of messages; empty: nowhere."""
        self.name = name
        self._url = f"{base_url.rstrip('/')}/v1/messages"
        self._sender = sender
        self._receipt_url = receipt_url
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
        body = {"to": message.address, "from": message.sender or self._sender, "body": message.text}
        if self._receipt_url:
            body |= {"reference": message.reference, "receipt_url": self._receipt_url}
        try:
            answer = await self._http.request(
                "POST", self._url, json=body, headers={"Idempotency-Key": message.key}
            )
        except (HttpError, ValueError):
            # It may have arrived; the same key makes it safe to ask again.
            return Attempt(Verdict.TEMPORARY, FAILURE_UNREACHABLE)
        return self._attempt(answer.status, _object(answer))

    async def receipt(self, gateway_message: str) -> Receipt:
        """What became of a message."""
        try:
            answer = await self._http.request("GET", f"{self._url}/{quote(gateway_message)}")
        except (HttpError, ValueError):
            return Receipt(ReceiptStatus.UNKNOWN, gateway_message)
        said = _object(answer) if answer.status == HTTPStatus.OK else {}
        return read_receipt({**said, "id": gateway_message})

    def _attempt(self, status: int, answer: dict[str, Any]) -> Attempt:
        if status in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
            if answer.get("status") == "delivered":
                return Attempt(Verdict.DELIVERED)
            if answer.get("status") == ON_ITS_WAY and (message := _identifier(answer.get("id"))):
                return Attempt(Verdict.ACCEPTED, gateway_message=message, gateway=self.name)
            return Attempt(Verdict.PERMANENT, failure_code(answer.get("status"), status))
        verdict = Verdict.PERMANENT if status in _REFUSED_FOR_GOOD else Verdict.TEMPORARY
        code = failure_code(answer.get("code"), status)
        return Attempt(verdict, code, is_refused=status in _REFUSED_BY_ITSELF)


def read_receipt(said: Mapping[str, Any]) -> Receipt:
    """What a gateway says of a message in a receipt, or when it is asked."""
    status = _RECEIPTS.get(str(said.get("status")), ReceiptStatus.UNKNOWN)
    code = "" if status is ReceiptStatus.DELIVERED else _identifier(said.get("code"))
    return Receipt(
        status,
        _identifier(said.get("id")),
        code or ("" if status is ReceiptStatus.DELIVERED else str(said.get("status", ""))[:60]),
        is_permanent=status is ReceiptStatus.FAILED and code not in _PASSING,
    )


def _object(answer: Answer) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def failure_code(named: object, status: int) -> str:
    """The gateway's own name for a failure, or its status if it has none."""
    return _identifier(named) or str(status)


def _identifier(named: object) -> str:
    """What a gateway calls something, if that is a name."""
    if isinstance(named, str) and named.isascii() and named.isprintable():
        return named[:FAILURE_CODE_MAX_CHARACTERS]
    return ""
