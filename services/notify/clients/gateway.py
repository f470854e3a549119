"""What a way to send messages is.

What it makes of a message is a result, never an exception: outages are part of its world. No gateway
may log an address or a text.
"""

from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from services.notify.domain.attachments import Attachment
from services.notify.domain.notices import Attempt
from services.notify.domain.receipts import Receipt

TIMEOUT_SECONDS = 5.0
FAILURE_UNREACHABLE = "UNREACHABLE"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Message(NamedTuple):
    """What is sent where. The same key means the same message to the same address."""

    key: str
    address: str
    subject: str
    text: str
    # The delivery's resource name, by which a receipt finds it again.
    reference: str = ""
    # From which number; empty: from that of the gateway.
    sender: str = ""
    # Of an e-mail alone.
    attachment: Attachment | None = None
    # Whether an attempt may have been made before.
    may_have_been_sent: bool = False
    # When its notice was made: it was not sent before.
    create_time: datetime = LONG_AGO
    # The language of its words; empty: it is not known.
    locale: str = ""
    # Of an e-mail that can be muted: where its reader's mail program asks for no more of them.
    unsubscribe_uri: str = ""


class Gateway(Protocol):
    """A way to send messages."""

    async def send(self, message: Message) -> Attempt:
        """Send, or send again, and say what became of it."""


class ReceiptSource(Protocol):
    """A gateway that can be asked what became of a message."""

    async def receipt(self, gateway_message: str) -> Receipt:
        """What became of a message; UNKNOWN if the gateway cannot say."""
