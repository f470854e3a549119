"""E-mail that a customer wants no more of: links in it, and what follows when one is used."""

import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import urlencode

from recurring.notify.v1 import notify_pb2

from services.notify.application import contacts
from services.notify.application.contacts import ContactUpdate
from services.notify.domain.notices import (
    ABOUT_ADDRESS,
    NEVER_MUTED,
    Channel,
    Contact,
    CustomerId,
    CustomerKey,
    MerchantId,
    Notice,
)
from services.notify.names import CONTACT
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.crypto.encryption import Keyring, UnreadableError
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Problem
from services.runtime.mutations import Applied, run_mutation
from services.runtime.workers.clock import Clock

UNSUBSCRIBE_PATH = "/unsubscribe"
# Whom the audit names: nobody has called, a link was followed.
_SUBJECT = "unsubscribe link"
_AAD = ("unsubscribe", "token")
_REQUESTS = uuid.UUID("6a0f7c52-0b6e-4a3c-8d5f-0d6d0c5e7b11")


class UnsubscribeLinks:
    """Links whose tokens name a customer, encrypted: nobody can make one, and none is stored."""

    def __init__(self, keyring: Keyring, url: str) -> None:
        """`url` is where notify is reached from outside; empty: e-mail has no such links."""
        self._keyring = keyring
        self._url = url

    def uri(self, notice: Notice, channel: Channel) -> str:
        """The link of a delivery; empty where the notice cannot be muted."""
        is_mutable = notice.kind not in NEVER_MUTED and notice.kind not in ABOUT_ADDRESS
        if not self._url or channel is not Channel.EMAIL or not is_mutable:
            return ""
        plain = "/".join(notice.customer_key).encode()
        token = urlsafe_b64encode(self._keyring.encrypt(plain, *_AAD)).rstrip(b"=").decode()
        return f"{self._url}{UNSUBSCRIBE_PATH}?{urlencode({'token': token})}"

    def customer(self, token: str) -> CustomerKey | None:
        """Whose link a token is of; None: it is of none."""
        try:
            encrypted = urlsafe_b64decode(token + "=" * (-len(token) % 4))
            merchant, _, customer = self._keyring.decrypt(encrypted, *_AAD).decode().partition("/")
        except (UnreadableError, ValueError):
            return None
        if not merchant or not customer:
            return None
        return CustomerKey(MerchantId(merchant), CustomerId(customer))


async def mute_email(database: Database, clock: Clock, key: CustomerKey) -> bool:
    """Send a customer no more e-mail but what cannot be muted; False if there is no such contact."""
    set_caller(Caller(_SUBJECT, key.merchant))
    contact = notify_pb2.Contact(name=CONTACT.format(*key))
    contact.preferences.email_muted = True
    # A time of its own for each, so that one who wants it again can unsubscribe again.
    request_id = str(uuid.uuid5(_REQUESTS, f"{contact.name}|{clock.now().isoformat()}"))
    request = notify_pb2.UpdateContactRequest(contact=contact, request_id=request_id)
    request.update_mask.paths.append("preferences.email_muted")
    wanted = ContactUpdate(
        key, {"email_muted": True}, frozenset({"email_muted"}), etag="", allow_missing=False
    )

    async def apply(tx: Connection) -> Applied[Contact]:
        return await contacts.update(tx, wanted, clock.now())

    try:
        await run_mutation(database, request, notify_pb2.Contact, _as_audited, apply)
    except Problem as problem:
        if problem.reason == "CONTACT_NOT_FOUND":
            return False
        raise
    return True


def _as_audited(contact: Contact) -> notify_pb2.Contact:
    """What changed, and nothing of who it is."""
    message = notify_pb2.Contact(name=CONTACT.format(*contact.key))
    message.preferences.email_muted = contact.email_muted
    return message
