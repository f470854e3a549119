"""What the words of a language are: how it greets, the sentences of each kind, and words for reasons."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.notify.domain.notices import NoticeKind


@dataclass(frozen=True, slots=True)
class KindWords:
    """What a kind of notice says: the subject of its e-mail, and sentences, of which some may be empty."""

    subject: str
    sentences: tuple[str, ...]
    # Whether the customer is addressed by name.
    greets: bool = True
    # What an SMS says instead, where the sentences take too many segments; empty: the same.
    sms_sentences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """All that the suite says in a language."""

    # Who writes, at the beginning of an SMS.
    sender_sms: str
    greeting_sms: str
    greeting_email: str
    # Of an e-mail, and of the SMS of a receipt: what order it is about, and whom to complain to.
    reference: str
    complaints: str
    # Of an e-mail: a line of an order, and a tax on it.
    line: str
    tax: str
    # Several notices in one message: the subject of an e-mail, and of how many an SMS has no room for.
    digest_subject: str
    digest_more: str
    # Of an SMS that can be replied to: the words that do something, and the one that stops messages.
    reply_hint: str
    reply_separator: str
    kinds: Mapping[NoticeKind, KindWords]
    # By the names of scheduler's OrderReason, and of payments' RefusalReason of a mandate.
    reasons: Mapping[str, str]
    reason_unknown: str
