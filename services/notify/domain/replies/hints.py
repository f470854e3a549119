"""Which words a notice names, where customers can reply to it. Pure."""

from services.notify.domain.notices import NoticeKind
from services.notify.domain.replies.decisions import ANSWERS
from services.notify.domain.replies.words import Word

# Before a charge; all others say what was done.
HINTED_KINDS = frozenset({
    NoticeKind.ORDER_UPCOMING, NoticeKind.ORDER_HELD, NoticeKind.PAYMENT_REQUEST,
    NoticeKind.PAYMENT_REMINDER, NoticeKind.PAYMENT_OVERDUE,
})  # fmt: skip
_ACTS = (Word.SKIP, Word.PAY, Word.PAUSE)


def hinted_acts(kind: NoticeKind) -> tuple[Word, ...]:
    """What a reply to a notice can do, beside STOP, which answers all; empty: nothing is named."""
    if kind not in HINTED_KINDS:
        return ()
    return tuple(word for word in _ACTS if kind in ANSWERS[word])
