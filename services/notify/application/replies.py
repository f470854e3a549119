"""What customers write: stored as it comes, then read and decided in sets.

Everything that needs this database alone is done at once, STOP among it. What another service is asked
for is decided once, stored, and done by another worker: an outage keeps no STOP waiting.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from services.notify.application.notices import reply_notice
from services.notify.domain.notices import CustomerKey, Facts, Notice, NoticeId, NoticeKey
from services.notify.domain.replies.answering import OUTCOME_PAUSE, OUTCOME_WAIT
from services.notify.domain.replies.decisions import (
    QUESTION_WINDOW,
    Act,
    Candidate,
    Decision,
    Option,
    Question,
    decide,
)
from services.notify.domain.replies.inbound import (
    ANSWERS_PER_HOUR_MAX,
    INBOUND_RETENTION,
    OUTCOME_HELPED,
    OUTCOME_NO_CHANGE,
    OUTCOME_NO_CUSTOMER,
    OUTCOME_NOT_UNDERSTOOD,
    OUTCOME_UNREADABLE,
    Inbound,
    InboundKey,
    SenderNumbers,
    is_given_up,
    next_try,
)
from services.notify.domain.replies.words import Reply, Word, read_reply
from services.notify.domain.templates.kinds import OrderUpcoming
from services.notify.domain.templates.replies import Answer, ReplyAnswer, ReplyOption
from services.notify.store import answering, inbound, notices, repliers
from services.notify.store.inbound import Acting, Decided, Pending
from services.notify.store.repliers import Replier, SentNotice
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.idempotency import derived_id
from services.runtime.db.pool import Connection, Database
from services.runtime.observability import metrics
from services.runtime.workers.clock import Clock

PURGE_BATCH_ROWS = 5000
PURGE_POLL_SECONDS = 3600.0
PURGE_DEADLINE_SECONDS = 60.0

_replies_counter = metrics.counter(
    "recurring.replies",
    "{message}",
    "Messages of customers, by the word that they were understood as",
    [{"word": word} for word in (*Word, "")],
)

_SWITCHES = {Word.STOP: Answer.STOPPED, Word.START: Answer.STARTED}

Sent = Mapping[CustomerKey, Sequence[SentNotice]]


async def receive(database: Database, message: Inbound, now: datetime) -> bool:
    """Store a message, to be read by a worker; False if it is known already."""
    # Whose it is, is found by who wrote it.
    act_for_all("notify")
    async with database.begin() as tx:
        return await inbound.insert(tx, message, now)


async def decide_due(
    tx: Connection, senders: SenderNumbers, buckets: Sequence[int], now: datetime, limit: int
) -> int:
    """Read a batch of messages, and do or decide what they ask for; returns how many there were."""
    due = await inbound.due(tx, buckets, now, limit)
    locked = await inbound.lock(tx, [it.inbound.key for it in due], "PENDING")
    pending = [it for it in due if it.inbound.key in locked]
    found = await repliers.of_messages(tx, [it.inbound for it in pending], senders)
    everybody = [replier for each in found for replier in each]
    sent = await repliers.sent(tx, everybody, now)
    replies = [read_reply(it.inbound.text) for it in pending]
    changed = await _stop_and_start(tx, replies, found, now)
    made: list[Notice] = []
    decided: list[Decided] = []
    for message, reply, its in zip(pending, replies, found, strict=True):
        result, answers = _decided(_read(message, reply, its, sent, changed), now)
        decided.append(result)
        made += answers
        _replies_counter.add(1, {"word": reply.word or ""})
    await notices.insert(tx, made)
    await inbound.decide(tx, decided)
    return len(due)


def act_id(key: InboundKey) -> str:
    """By what id another service is asked for what a message wants: the same for each attempt."""
    return str(derived_id("reply-act", *key))


async def finish(
    tx: Connection, asked: Sequence[tuple[Acting, Answer | None]], now: datetime
) -> None:
    """Store what came of what messages ask for, and answer; None is tried again, for a day.

    A payment's outcome has a notice of its own, which is the answer if it goes out soon.
    """
    acting = await inbound.lock(tx, [it.key for it, _ in asked], "ACTING")
    # A customer who was erased meanwhile is not answered.
    left = [(it, answer) for it, answer in asked if it.key in acting]
    paying = [it for it, answer in left if answer is Answer.PAYING]
    answered = await answering.said_by_notices(tx, paying)
    later = [
        (it.key, next_try(it.attempt_count + 1, now))
        for it, answer in left
        if answer is None and not is_given_up(it.receive_time, now)
    ] + [
        (it.key, now + OUTCOME_PAUSE)
        for it in paying
        if it.key not in answered and now - it.receive_time < OUTCOME_WAIT
    ]
    waiting = {key for key, _ in later}
    done = [(it, answer or Answer.NOT_DONE) for it, answer in left if it.key not in waiting]
    await inbound.postpone(tx, later)
    await notices.insert(
        tx,
        [
            answer_notice(
                it.key, it.phone, it.act.customer, _facts(it.act, answer), it.act.order, now
            )
            for it, answer in done
            if it.readable and not it.is_silent and it.key not in answered
        ],
    )
    await inbound.finish(tx, [(it.key, answer) for it, answer in done])


def _facts(act: Act, answer: Answer) -> ReplyAnswer:
    return ReplyAnswer(answer, act.word, act.title, act.due_date)


async def purge(database: Database, clock: Clock) -> None:
    """Forget messages that were answered long ago."""
    before = clock.now() - INBOUND_RETENTION
    while True:
        async with database.begin(wake_workers=False) as tx:
            if await inbound.purge(tx, before, PURGE_BATCH_ROWS) < PURGE_BATCH_ROWS:
                return


def answer_notice(
    key: InboundKey,
    phone: str,
    customer: CustomerKey,
    facts: ReplyAnswer,
    subject_resource: str,
    now: datetime,
) -> Notice:
    """The answer to a message, by its customer; however often it is made, there is one."""
    notice = NoticeId(str(derived_id("reply", *customer, *key)))
    return reply_notice(facts, phone, NoticeKey(*customer, notice), subject_resource, now)


async def _stop_and_start(
    tx: Connection, replies: Sequence[Reply], found: Sequence[Collection[Replier]], now: datetime
) -> set[CustomerKey]:
    """Do what needs nobody else, for all customers of a phone; returns for whom it changed anything."""

    def who(word: Word) -> set[CustomerKey]:
        return {
            replier.key
            for reply, its in zip(replies, found, strict=True)
            if reply.word is word
            for replier in its
        }

    # Who wrote both at one moment gets no messages.
    stopping = who(Word.STOP)
    stopped = await repliers.stop(tx, stopping, now)
    return stopped | await repliers.start(tx, who(Word.START) - stopping)


@dataclass(frozen=True, slots=True)
class _Read:
    """A message, with all that decides what becomes of it."""

    message: Pending
    reply: Reply
    repliers: Sequence[Replier]
    # What they were sent, the newest first.
    found: Sequence[SentNotice]
    # Whether it has stopped or started messages.
    has_changed: bool

    @property
    def customer(self) -> CustomerKey | None:
        """Who answers: whoever was written to last; None: nobody has the phone."""
        if self.found:
            return self.found[0].customer
        return self.repliers[0].key if self.repliers else None

    @property
    def is_silent(self) -> bool:
        """Whether the number has written too often to be answered."""
        return self.message.recent_count >= ANSWERS_PER_HOUR_MAX

    @property
    def is_stopped(self) -> bool:
        """Whether the phone's owner wants no messages."""
        return all(replier.is_stopped for replier in self.repliers)

    @property
    def decision(self) -> Decision:
        """What it asks of another service, or what is asked back."""
        if not self.repliers or self.reply.word in {Word.STOP, Word.START, Word.HELP}:
            return None
        now = self.message.receive_time
        return decide(self.reply, _candidates(self.found), _question(self.found, now))


def _read(
    message: Pending,
    reply: Reply,
    its: Sequence[Replier],
    sent: Sent,
    changed: Collection[CustomerKey],
) -> _Read:
    found = sorted(
        (notice for replier in its for notice in sent[replier.key]),
        key=lambda notice: notice.create_time,
        reverse=True,
    )
    return _Read(message, reply, its, found, any(replier.key in changed for replier in its))


def _decided(read: _Read, now: datetime) -> tuple[Decided, list[Notice]]:
    """What becomes of a message, and what it is answered now."""
    key, decision = read.message.inbound.key, read.decision
    if isinstance(decision, Act):
        is_silent = read.is_silent or read.is_stopped
        return Decided(key, decision.customer, decision.word, decision, is_silent, ""), []
    if isinstance(decision, Question) and not read.is_stopped:
        made = [] if read.is_silent else _questions(read.message, decision, now)
        asked = Decided(key, read.customer, decision.word, None, read.is_silent, Answer.WHICH)
        return asked, made
    outcome, answer = _answer(read)
    result = Decided(key, read.customer, read.reply.word, None, read.is_silent, outcome)
    if answer is None or read.customer is None or read.is_silent:
        return result, []
    facts = ReplyAnswer(answer, read.reply.word or "")
    return result, [answer_notice(*_from(read.message), read.customer, facts, "", now)]


def _answer(read: _Read) -> tuple[str, Answer | None]:
    """The outcome of a message that asks nothing of another service, and its answer; None: none."""
    word = read.reply.word
    if read.customer is None:
        return OUTCOME_NO_CUSTOMER if read.message.readable else OUTCOME_UNREADABLE, None
    if word in _SWITCHES:
        # Who has this answer already gets no other.
        return (_SWITCHES[word],) * 2 if read.has_changed else (OUTCOME_NO_CHANGE, None)
    if word is Word.HELP:
        return Answer.HELP, Answer.HELP
    if read.is_stopped:
        return OUTCOME_NO_CHANGE, None
    if word is not None:
        return Answer.NOTHING, Answer.NOTHING
    # What answers by itself, as a phone does whose owner drives, would be answered for ever.
    is_new = not read.message.was_helped
    return (OUTCOME_HELPED, Answer.HELP) if is_new else (OUTCOME_NOT_UNDERSTOOD, None)


def _from(message: Pending) -> tuple[InboundKey, str]:
    return message.inbound.key, message.inbound.phone


def _questions(message: Pending, question: Question, now: datetime) -> list[Notice]:
    """What asks back: to each customer of the phone their own orders, under numbers of one list.

    No merchant learns what another one's customer has ordered.
    """
    by_customer: dict[CustomerKey, list[ReplyOption]] = {}
    for it in question.options:
        option = ReplyOption(it.number, it.title, it.due_date, it.order)
        by_customer.setdefault(it.customer, []).append(option)
    return [
        answer_notice(
            *_from(message),
            customer,
            ReplyAnswer(Answer.WHICH, question.word, options=tuple(options)),
            "",
            now,
        )
        for customer, options in by_customer.items()
    ]


def _question(found: Sequence[SentNotice], now: datetime) -> Question | None:
    """The list that was asked back last, if its numbers still hold."""
    asked = [
        (notice, notice.facts)
        for notice in found
        if isinstance(notice.facts, ReplyAnswer) and notice.facts.answer == Answer.WHICH
    ]
    if not asked or now - asked[0][0].create_time > QUESTION_WINDOW:
        return None
    last = asked[0][0].create_time
    options = tuple(
        Option(notice.customer, it.number, it.subject_resource, it.title, it.due_date)
        for notice, facts in asked
        if notice.create_time == last
        for it in facts.options
    )
    return Question(Word(asked[0][1].word), options)


def _candidates(found: Sequence[SentNotice]) -> Sequence[Candidate]:
    return [
        Candidate(
            notice.customer,
            notice.facts.kind,
            notice.subject_resource,
            getattr(notice.facts, "title", ""),
            _due_date(notice.facts),
            notice.create_time,
            notice.is_live,
        )
        for notice in found
        if not isinstance(notice.facts, ReplyAnswer)
    ]


def _due_date(facts: Facts) -> date | None:
    """When the order of a notice is due, by its own time zone; None: the notice does not say."""
    moment = (
        facts.order_time if isinstance(facts, OrderUpcoming) else getattr(facts, "due_time", None)
    )
    zone: str = getattr(facts, "time_zone", "")
    return moment.astimezone(ZoneInfo(zone)).date() if moment and zone else None
