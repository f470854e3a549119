"""Messages of customers, as gateways bring them: by a form of our own, and by Twilio's."""

import json
import re
from collections.abc import Mapping

from services.notify.clients import twilio
from services.notify.clients.callbacks import CallbackRefusedError
from services.notify.domain.replies.inbound import TEXT_CHARACTERS_MAX, Inbound, InboundKey

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_IDENTIFIER = re.compile(r"[!-~]{1,60}", re.ASCII)
# What phones show as the sender.
_RECIPIENT = re.compile(r"[ -~]{1,20}", re.ASCII)


def read(body: bytes, gateway: str) -> Inbound:
    """A message as JSON: `id`, `from`, `to` and `body`. Raises CallbackRefusedError."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise CallbackRefusedError("the body is no JSON object")
    return _inbound(said, gateway, ("id", "from", "to", "body"))


def read_twilio(body: bytes, gateway: str) -> Inbound:
    """A message as Twilio sends it. Raises CallbackRefusedError.

    https://www.twilio.com/docs/messaging/guides/webhook-request
    """
    fields = {name: values[0] for name, values in twilio.form_fields(body).items()}
    return _inbound(fields, gateway, ("MessageSid", "From", "To", "Body"))


def _inbound(said: Mapping[str, object], gateway: str, names: tuple[str, str, str, str]) -> Inbound:
    identifier, sender, recipient, text = (said.get(name, "") for name in names)
    if not (isinstance(identifier, str) and _IDENTIFIER.fullmatch(identifier)):
        raise CallbackRefusedError(f"{names[0]}: must be 1 to 60 characters of ASCII")
    if not (isinstance(sender, str) and _E164.fullmatch(sender)):
        raise CallbackRefusedError(f"{names[1]}: must be a number in E.164 form")
    if not (isinstance(recipient, str) and _RECIPIENT.fullmatch(recipient)):
        raise CallbackRefusedError(f"{names[2]}: must be the number that it was sent to")
    if not isinstance(text, str):
        raise CallbackRefusedError(f"{names[3]}: must be a text")
    return Inbound(InboundKey(gateway, identifier), sender, recipient, text[:TEXT_CHARACTERS_MAX])
