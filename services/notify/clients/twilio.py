"""Twilio's Programmable Messaging, and whoever speaks as it does.

https://www.twilio.com/docs/messaging/api/message-resource. There is no idempotency key: what may have
been sent before is looked for among the messages to its number before it is sent again.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha1
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote

from services.notify.clients.callbacks import CallbackRefusedError
from services.notify.clients.gateway import FAILURE_UNREACHABLE, TIMEOUT_SECONDS, Message
from services.notify.clients.sms import SMS_CONNECTIONS_MAX
from services.notify.domain.notices import Attempt, DeliveryKey, Verdict
from services.notify.domain.receipts import Receipt, ReceiptStatus
from services.notify.names import DELIVERY
from services.runtime.http_client import Answer, HttpClient, HttpError

SIGNATURE_HEADER = "x-twilio-signature"
REFERENCE = "message"
FIELDS_MAX = 100
SID_CHARACTERS_MAX = 60
LOOKED_AT_MAX = 100
# Twilio's clock and ours.
CLOCK_SKEW = timedelta(minutes=1)

# Of requests (https://www.twilio.com/docs/api/errors): the number or the message is at fault. All else
# is about us or the moment, and worth another attempt.
_REFUSED_FOR_GOOD = frozenset({
    21211,  # The number is none.
    21217, 21401,
    21408,  # Messages to its country are not allowed.
    21610,  # Its owner wants none.
    21612,  # It cannot be reached from our number.
    21614,  # It is no mobile number.
    21617,  # The text is too long.
    21635,  # It is a landline.
})  # fmt: skip
# Of messages that were taken: the number is at fault, and not the moment or the network.
UNASSIGNED = 30005
_UNREACHABLE_FOR_GOOD = frozenset({30004, UNASSIGNED, 30006})
_RECEIPTS = {
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.DELIVERED,
    "undelivered": ReceiptStatus.FAILED,
    "failed": ReceiptStatus.FAILED,
    "canceled": ReceiptStatus.FAILED,
}


class TwilioGateway:
    """Posts messages as forms."""

    name = "twilio"

    def __init__(
        self,
        base_url: str,
        account: str,
        auth_token: str,
        sender: str,
        status_url: str = "",
        name: str = name,
    ) -> None:
        """`status_url` is where Twilio says by itself what became of messages; empty: nowhere."""
        self.name = name
        self._url = f"{base_url.rstrip('/')}/2010-04-01/Accounts/{account}/Messages"
        self._sender = sender
        self._status_url = status_url
        login = base64.b64encode(f"{account}:{auth_token}".encode()).decode()
        self._http = HttpClient(
            connections_max=SMS_CONNECTIONS_MAX,
            timeout_seconds=TIMEOUT_SECONDS,
            headers={"Authorization": f"Basic {login}"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def send(self, message: Message) -> Attempt:
        """Send an SMS, unless it was sent before."""
        try:
            found = await self._find(message) if message.may_have_been_sent else None
            return await self._post(message) if found is None else self._taken(found)
        except (HttpError, ValueError):
            # It may have arrived.
            return Attempt(Verdict.UNKNOWN, FAILURE_UNREACHABLE)

    async def receipt(self, gateway_message: str) -> Receipt:
        """What became of a message."""
        try:
            answer = await self._http.request("GET", f"{self._url}/{quote(gateway_message)}.json")
        except (HttpError, ValueError):
            return Receipt(ReceiptStatus.UNKNOWN, gateway_message)
        said = _object(answer) if answer.status == HTTPStatus.OK else {}
        return _receipt(gateway_message, said.get("status"), said.get("error_code"))

    async def _post(self, message: Message) -> Attempt:
        form = {"To": message.address, "From": message.sender or self._sender, "Body": message.text}
        if self._status_url:
            # A name has no character that would be written otherwise in an address, which is signed.
            form["StatusCallback"] = f"{self._status_url}?{REFERENCE}={message.reference}"
        answer = await self._http.request("POST", f"{self._url}.json", form=form)
        said = _object(answer)
        if answer.status == HTTPStatus.CREATED and said.get("sid"):
            return self._taken(said)
        code = _number(said.get("code"))
        if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and code:
            is_over = code in _REFUSED_FOR_GOOD
            verdict = Verdict.PERMANENT if is_over else Verdict.TEMPORARY
            return Attempt(verdict, str(code), is_refused=not is_over)
        # Whatever stands before it answered, and perhaps after it had taken the message.
        return Attempt(Verdict.UNKNOWN, str(code or answer.status))

    async def _find(self, message: Message) -> Mapping[str, Any] | None:
        """The message, if it was taken before. Raises HttpError if nobody can say."""
        query = {"To": message.address, "PageSize": str(LOOKED_AT_MAX)}
        answer = await self._http.request("GET", f"{self._url}.json", query=query)
        listed = _object(answer.expect_ok()).get("messages")
        if not isinstance(listed, list):
            raise HttpError("this is no list of messages")
        since = message.create_time - CLOCK_SKEW
        same = (
            each for each in listed if each.get("body") == message.text and _created(each) >= since
        )
        return next(same, None)

    def _taken(self, said: Mapping[str, Any]) -> Attempt:
        receipt = _receipt(str(said["sid"]), said.get("status"), said.get("error_code"))
        if receipt.status is ReceiptStatus.DELIVERED:
            return Attempt(Verdict.DELIVERED)
        if receipt.status is ReceiptStatus.FAILED:
            return Attempt(Verdict.PERMANENT, receipt.failure_code)
        return Attempt(Verdict.ACCEPTED, gateway_message=receipt.gateway_message, gateway=self.name)


def verify(url: str, body: bytes, signature: str | None, tokens: Sequence[bytes]) -> None:
    """Raise CallbackRefusedError unless a token has signed a form that is posted to a URL.

    https://www.twilio.com/docs/usage/security#validating-requests
    """
    fields = form_fields(body)
    signed = url + "".join(
        name + value for name in sorted(fields) for value in sorted(set(fields[name]))
    )
    for token in tokens:
        expected = sign(signed, token)
        if hmac.compare_digest(expected.encode(), (signature or "").encode()):
            return
    raise CallbackRefusedError(f"{SIGNATURE_HEADER}: is none of ours")


def sign(signed: str, token: bytes) -> str:
    """The signature of a URL with the sorted fields behind it."""
    return base64.b64encode(hmac.new(token, signed.encode(), sha1).digest()).decode()


def read(query: str, body: bytes) -> tuple[DeliveryKey, Receipt]:
    """Which delivery a status is about, and what it says. Raises CallbackRefusedError."""
    try:
        [reference] = parse_qs(query)[REFERENCE]
        key = DELIVERY.key(reference)
    except (ValueError, KeyError):
        raise CallbackRefusedError("the address has no reference of a message of ours") from None
    fields = {name: values[0] for name, values in form_fields(body).items()}
    if not fields.get("MessageSid"):
        raise CallbackRefusedError("MessageSid: is none")
    receipt = _receipt(fields["MessageSid"], fields.get("MessageStatus"), fields.get("ErrorCode"))
    return key, receipt


def form_fields(body: bytes) -> dict[str, list[str]]:
    """The fields of a form. Raises CallbackRefusedError."""
    fields: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise CallbackRefusedError("the body is no form") from None
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _receipt(gateway_message: str, status: object, error_code: object) -> Receipt:
    known = _RECEIPTS.get(str(status), ReceiptStatus.UNKNOWN)
    code = _number(error_code)
    is_failed = known is ReceiptStatus.FAILED
    return Receipt(
        known,
        gateway_message[:SID_CHARACTERS_MAX],
        (str(code) if code else str(status)) if is_failed else "",
        is_permanent=is_failed and code in _UNREACHABLE_FOR_GOOD,
    )


def _number(code: object) -> int:
    """A code, of a form or of JSON; 0 if it is none."""
    text = str(code)
    return int(text) if text.isascii() and text.isdigit() and len(text) < len("1000000") else 0


def _created(listed: Mapping[str, Any]) -> datetime:
    try:
        created = parsedate_to_datetime(str(listed.get("date_created")))
    except ValueError:
        # Rather found too often than sent twice.
        return datetime.max.replace(tzinfo=UTC)
    return created if created.tzinfo else created.replace(tzinfo=UTC)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
