"""What a reply acts on: the notice that it answers, or the choice of a list that it was asked. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType

from services.notify.domain.notices import CustomerKey, NoticeKind
from services.notify.domain.replies.words import ACTS, Reply, Word

# For so long a notice is answered by a reply, unless what it says ends before.
REPLY_WINDOW = timedelta(days=30)
# For so long the numbers of a list hold.
QUESTION_WINDOW = timedelta(hours=24)
# As many as an SMS of three segments has room for.
OPTIONS_MAX = 6

_UPCOMING = frozenset({NoticeKind.ORDER_UPCOMING, NoticeKind.ORDER_HELD})
_PAYABLE = frozenset({
    NoticeKind.PAYMENT_REQUEST, NoticeKind.PAYMENT_REMINDER, NoticeKind.PAYMENT_OVERDUE,
})  # fmt: skip
# Which notices a word can answer.
ANSWERS: Mapping[Word, frozenset[NoticeKind]] = MappingProxyType({
    Word.SKIP: _UPCOMING,
    Word.PAUSE: _UPCOMING | _PAYABLE | {
        NoticeKind.PAYMENT_DECLINED, NoticeKind.RECEIPT, NoticeKind.ORDER_SKIPPED,
    },
    Word.PAY: _PAYABLE,
})  # fmt: skip
ANSWERED_KINDS = frozenset().union(*ANSWERS.values())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A notice that went to the phone, and that a reply can be about."""

    customer: CustomerKey
    kind: NoticeKind
    # The order.
    order: str
    title: str
    # When the order is due, where the customer is; None: the notice does not say.
    due_date: date | None
    create_time: datetime
    # Whether what it says is still true.
    is_live: bool


@dataclass(frozen=True, slots=True)
class Option:
    """A choice of a list that was asked back."""

    customer: CustomerKey
    number: int
    # The order.
    order: str
    title: str
    due_date: date | None


@dataclass(frozen=True, slots=True)
class Question:
    """The list that was asked back last, over all merchants that the phone is known to."""

    word: Word
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """Something to ask of another service, about an order."""

    word: Word
    customer: CustomerKey
    order: str
    title: str
    due_date: date | None


# None: there is nothing that the reply could be about.
Decision = Act | Question | None


def standing_order_of(order: str) -> str:
    """The standing order of an order, both by their names."""
    return order.partition("/orders/")[0]


def decide(reply: Reply, candidates: Iterable[Candidate], question: Question | None) -> Decision:
    """What a reply is about, of the candidates, the newest first.

    One live candidate is taken, and several are asked back. Without a live one the newest is taken all
    the same: the service that is asked says why it is too late.
    """
    if reply.number is not None and question is not None and reply.word in {None, question.word}:
        return _chosen(question, reply.number)
    if reply.word not in ACTS:
        return None
    word = Word(reply.word)
    targets = _targets(word, candidates)
    live = [target for target in targets if target.is_live]
    if len(live) > 1 or (live and reply.number not in {None, 1}):
        return _question(word, live[:OPTIONS_MAX])
    chosen = (live or targets)[:1]
    return _act(word, chosen[0]) if chosen else None


def _targets(word: Word, candidates: Iterable[Candidate]) -> Sequence[Candidate]:
    """The newest candidate of each order or, to pause, of each standing order."""
    targets: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.kind in ANSWERS[word]:
            is_pause = word is Word.PAUSE
            about = standing_order_of(candidate.order) if is_pause else candidate.order
            targets.setdefault(about, candidate)
    return list(targets.values())


def _chosen(question: Question, number: int) -> Decision:
    chosen = next((option for option in question.options if option.number == number), None)
    return question if chosen is None else _act(question.word, chosen)


def _question(word: Word, candidates: Sequence[Candidate]) -> Question:
    return Question(
        word,
        tuple(
            Option(it.customer, number, it.order, it.title, it.due_date)
            for number, it in enumerate(candidates, start=1)
        ),
    )


def _act(word: Word, about: Candidate | Option) -> Act:
    return Act(word, about.customer, about.order, about.title, about.due_date)
