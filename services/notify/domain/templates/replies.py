"""The facts of answers to what customers write back. Pure."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar

from services.notify.domain.notices import NoticeKind


class Answer(StrEnum):
    """What a customer is answered."""

    # The words, because they were asked for or since nothing else was understood.
    HELP = "HELP"
    STOPPED = "STOPPED"
    STARTED = "STARTED"
    # Which of several orders it is about.
    WHICH = "WHICH"
    # There is nothing that the word could be about.
    NOTHING = "NOTHING"
    # What was done.
    SKIPPED = "SKIPPED"
    PAUSED = "PAUSED"
    PAYING = "PAYING"
    # Why it was not: the payment has begun, or the order is over.
    TOO_LATE = "TOO_LATE"
    # The standing order is not active.
    NOT_ACTIVE = "NOT_ACTIVE"
    # There is no request to pay any more.
    NOT_PAYABLE = "NOT_PAYABLE"
    # There is no payment method that can be charged.
    METHOD_NEEDED = "METHOD_NEEDED"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    # For another reason, or since a service was away for too long.
    NOT_DONE = "NOT_DONE"


@dataclass(frozen=True, slots=True)
class ReplyOption:
    """One of several orders that a reply can be about."""

    number: int
    title: str
    due_date: date | None
    # The order.
    subject_resource: str


@dataclass(frozen=True, slots=True)
class ReplyAnswer:
    """The answer to a message of the customer."""

    kind: ClassVar[NoticeKind] = NoticeKind.REPLY
    answer: str
    # What the customer wrote, as the English word; empty: none that is known.
    word: str = ""
    title: str = ""
    # Of the order, where it is due; None: it is not known.
    due_date: date | None = None
    options: tuple[ReplyOption, ...] = ()
