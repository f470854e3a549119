"""Whether a fact is said by the answer to a reply or by a notice of its own: it is said once. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from services.notify.domain.notices import Facts, NoticeKind
from services.notify.domain.replies.decisions import standing_order_of
from services.notify.domain.replies.words import Word
from services.notify.domain.templates.kinds import (
    OrderCancelled,
    OrderSkipped,
    StandingOrderChanged,
)
from services.notify.domain.templates.replies import Answer

# What a customer is answered once what they wrote is done.
DONE: Mapping[Word, Answer] = MappingProxyType({
    Word.SKIP: Answer.SKIPPED, Word.PAUSE: Answer.PAUSED, Word.PAY: Answer.PAYING,
})  # fmt: skip
# The notices of what came of a confirmed payment.
PAYMENT_OUTCOMES = frozenset({
    NoticeKind.RECEIPT, NoticeKind.PAYMENT_DECLINED, NoticeKind.PAYMENT_ACTION_REQUIRED,
    NoticeKind.ORDER_HELD, NoticeKind.ORDER_LAPSED,
})  # fmt: skip
# PAY is answered only if no such notice has gone out for so long. Most payments take a few seconds.
OUTCOME_WAIT = timedelta(seconds=20)
OUTCOME_PAUSE = timedelta(seconds=5)
# Services' clocks differ: a fact that a reply has caused can seem to be earlier than the reply.
CLOCK_SKEW = timedelta(seconds=5)


def word_behind(facts: Facts | None) -> Word | None:
    """The word that causes a fact, and whose answer says it; None: no answer does."""
    if isinstance(facts, OrderSkipped):
        return Word.SKIP if facts.reasons == ("SKIPPED_BY_CUSTOMER",) else None
    if isinstance(facts, OrderCancelled):
        return Word.PAUSE if facts.by_pause else None
    if isinstance(facts, StandingOrderChanged):
        return Word.PAUSE if facts.change == "PAUSED" and not facts.reasons else None
    return None


def replied_about(word: Word, subject_resource: str) -> str:
    """What a reply is about that causes a fact: its order or, to pause, its standing order."""
    return standing_order_of(subject_resource) if word is Word.PAUSE else subject_resource
