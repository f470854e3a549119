"""Messages of customers: stored once, read in sets, forgotten once they are answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from services.notify.domain.notices import CustomerId, CustomerKey, MerchantId
from services.notify.domain.replies.decisions import Act
from services.notify.domain.replies.inbound import (
    HELP_PAUSE,
    OUTCOME_ERASED,
    OUTCOME_HELPED,
    Inbound,
    InboundKey,
)
from services.notify.domain.replies.words import Word
from services.runtime.crypto.encryption import UnreadableError, decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

ENCRYPTED_COLUMNS = ("phone", "text")
_SENDER = ("inbound_messages", "sender")
_RECENT = timedelta(hours=1)


class _PendingRow(NamedTuple):
    """A message that was not read yet; the number and the text are encrypted."""

    gateway: str
    gateway_message: str
    phone: bytes
    recipient: str
    text: bytes
    receive_time: datetime
    recent_count: int
    was_helped: bool


class _ActingRow(NamedTuple):
    """A message of which it is known what it asks for; the number is encrypted."""

    gateway: str
    gateway_message: str
    phone: bytes
    receive_time: datetime
    attempt_count: int
    merchant: MerchantId
    customer: CustomerId
    word: Word
    subject_resource: str
    title: str
    due_date: date | None
    is_silent: bool


_INSERT = Command("""
    INSERT INTO inbound_messages (gateway, gateway_message, sender_blind_index, recipient, phone, text,
                                  receive_time, next_attempt_time)
    VALUES (:gateway, :gateway_message, :sender_blind_index, :recipient, :phone, :text, :now, :now)
    ON CONFLICT (gateway, gateway_message) DO NOTHING
""")

# Of each number the first that waits: each message finds what the ones before have done.
_DUE = Query(
    """
    SELECT gateway, gateway_message, phone, recipient, text, receive_time, recent_count, was_helped
    FROM (
        SELECT DISTINCT ON (due.sender_blind_index) due.*
        FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT gateway, gateway_message, phone, recipient, text, receive_time, sender_blind_index
            FROM inbound_messages
            WHERE state <> 'DONE' AND state = 'PENDING' AND bucket = leased.bucket
              AND next_attempt_time <= :now
            ORDER BY next_attempt_time LIMIT :limit) AS due
        ORDER BY due.sender_blind_index, due.receive_time, due.gateway_message
        LIMIT :limit) AS first
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (
                   WHERE earlier.receive_time > CAST(:now AS timestamptz) - CAST(:recent AS interval)
               ) AS recent_count,
               coalesce(bool_or(outcome = :helped), false) AS was_helped
        FROM inbound_messages AS earlier
        WHERE earlier.sender_blind_index = first.sender_blind_index
          AND earlier.receive_time > CAST(:now AS timestamptz) - CAST(:help_pause AS interval)
          AND earlier.state <> 'PENDING' OFFSET 0) AS said
""",
    _PendingRow,
)

_ACTING = Query(
    """
    SELECT gateway, gateway_message, phone, receive_time, attempt_count, merchant, customer, word,
           subject_resource, title, due_date, is_silent
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT gateway, gateway_message FROM inbound_messages
            WHERE state <> 'DONE' AND state = 'ACTING' AND bucket = leased.bucket
              AND next_attempt_time <= :now
            ORDER BY next_attempt_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    JOIN inbound_messages USING (gateway, gateway_message)
""",
    _ActingRow,
)

# The number stays for the answer to what is to be done, and nothing of what is over.
_DECIDE = Command("""
    UPDATE inbound_messages SET state = decided.state, text = '',
        phone = CASE WHEN decided.state = 'DONE' THEN '' ELSE phone END,
        merchant = decided.merchant, customer = decided.customer, word = decided.word,
        subject_resource = decided.subject_resource, title = decided.title,
        due_date = decided.due_date, is_silent = decided.is_silent, outcome = decided.outcome
    FROM unnest(
        CAST(:gateway AS text[]), CAST(:gateway_message AS text[]), CAST(:state AS text[]),
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:word AS text[]),
        CAST(:subject_resource AS text[]), CAST(:title AS text[]), CAST(:due_date AS date[]),
        CAST(:is_silent AS boolean[]), CAST(:outcome AS text[]))
      AS decided (gateway, gateway_message, state, merchant, customer, word, subject_resource, title,
                  due_date, is_silent, outcome)
    WHERE inbound_messages.gateway = decided.gateway
      AND inbound_messages.gateway_message = decided.gateway_message
      AND inbound_messages.state = 'PENDING'
""")

_LOCK_PENDING = Query(
    """
    SELECT gateway, gateway_message FROM inbound_messages
    JOIN unnest(CAST(:gateway AS text[]), CAST(:gateway_message AS text[]))
      AS named (gateway, gateway_message) USING (gateway, gateway_message)
    WHERE state = :state
    ORDER BY gateway, gateway_message FOR UPDATE OF inbound_messages
""",
    InboundKey,
)

_FINISH = Command("""
    UPDATE inbound_messages SET state = 'DONE', phone = '', outcome = done.outcome
    FROM unnest(
        CAST(:gateway AS text[]), CAST(:gateway_message AS text[]), CAST(:outcome AS text[]))
      AS done (gateway, gateway_message, outcome)
    WHERE inbound_messages.gateway = done.gateway
      AND inbound_messages.gateway_message = done.gateway_message
      AND inbound_messages.state = 'ACTING'
""")

_POSTPONE = Command("""
    UPDATE inbound_messages SET attempt_count = attempt_count + 1, next_attempt_time = later.next_time
    FROM unnest(
        CAST(:gateway AS text[]), CAST(:gateway_message AS text[]), CAST(:next_time AS timestamptz[]))
      AS later (gateway, gateway_message, next_time)
    WHERE inbound_messages.gateway = later.gateway
      AND inbound_messages.gateway_message = later.gateway_message
      AND inbound_messages.state = 'ACTING'
""")

_ERASE = Command("""
    UPDATE inbound_messages SET state = 'DONE', phone = '', outcome = :outcome
    WHERE customer = :customer AND customer <> '' AND merchant = :merchant AND state = 'ACTING'
""")

_PURGE = Command("""
    DELETE FROM inbound_messages WHERE (gateway, gateway_message) IN (
        SELECT gateway, gateway_message FROM inbound_messages
        WHERE receive_time < :before AND state = 'DONE' ORDER BY receive_time LIMIT :limit)
""")


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that is to be read now."""

    inbound: Inbound
    receive_time: datetime
    # Earlier ones of the number within the hour.
    recent_count: int
    # Whether the number was sent the words lately, since it was not understood.
    was_helped: bool
    # Whether the number and the text could be opened; they are empty if not.
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Acting:
    """A message that asks for something which is to be done now."""

    key: InboundKey
    phone: str
    act: Act
    receive_time: datetime
    attempt_count: int
    is_silent: bool
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Decided:
    """What was made of a message when it was read."""

    key: InboundKey
    # Whose it is; None: nobody's.
    customer: CustomerKey | None
    word: Word | None
    # What is to be done; None: nothing, or nothing any more.
    act: Act | None
    is_silent: bool
    # Empty if something is to be done.
    outcome: str


async def insert(tx: Connection, inbound: Inbound, now: datetime) -> bool:
    """Store a message; False if it is there already."""
    inserted = await _INSERT.run(
        tx,
        **inbound.key._asdict(),
        sender_blind_index=tx.keyring.blind_index(inbound.phone, *_SENDER),
        recipient=inbound.recipient,
        phone=encrypt(tx, inbound.phone, *aad(inbound.key, "phone")),
        text=encrypt(tx, inbound.text, *aad(inbound.key, "text")),
        now=now,
    )
    return inserted > 0


async def due(tx: Connection, buckets: Sequence[int], now: datetime, limit: int) -> list[Pending]:
    """A batch of messages that were not read yet, at most one of a number."""
    rows = await _DUE.all(
        tx,
        buckets=buckets,
        now=now,
        limit=limit,
        recent=_RECENT,
        help_pause=HELP_PAUSE,
        helped=OUTCOME_HELPED,
    )
    return [_pending(tx, row) for row in rows]


async def acting(tx: Connection, buckets: Sequence[int], now: datetime, limit: int) -> list[Acting]:
    """A batch of what messages ask for, and is to be done now."""
    rows = await _ACTING.all(tx, buckets=buckets, now=now, limit=limit)
    return [_acting(tx, row) for row in rows]


async def lock(tx: Connection, keys: Sequence[InboundKey], state: str) -> set[InboundKey]:
    """Those of the messages that are still in a state, kept there until the transaction ends."""
    return set(await _LOCK_PENDING.all_for(tx, keys, state=state))


async def decide(tx: Connection, decided: Sequence[Decided]) -> None:
    """Store what was made of messages that were not read yet."""
    acts = [each.act for each in decided]
    customers = [each.customer for each in decided]
    await _DECIDE.run_for(
        tx,
        decided,
        gateway=[each.key.gateway for each in decided],
        gateway_message=[each.key.gateway_message for each in decided],
        state=["ACTING" if act else "DONE" for act in acts],
        merchant=[key.merchant if key else "" for key in customers],
        customer=[key.customer if key else "" for key in customers],
        word=[each.word or "" for each in decided],
        subject_resource=[act.order if act else "" for act in acts],
        title=[act.title if act else "" for act in acts],
        due_date=[act.due_date if act else None for act in acts],
    )


async def finish(tx: Connection, outcomes: Sequence[tuple[InboundKey, str]]) -> None:
    """Store what became of what messages asked for."""
    await _FINISH.run_for(
        tx, [key for key, _ in outcomes], outcome=[outcome for _, outcome in outcomes]
    )


async def postpone(tx: Connection, later: Sequence[tuple[InboundKey, datetime]]) -> None:
    """Try what messages ask for again at a time."""
    await _POSTPONE.run_for(tx, [key for key, _ in later], next_time=[time for _, time in later])


async def erase(tx: Connection, customer: CustomerKey) -> None:
    """Forget what a customer has asked for and was not done yet."""
    await _ERASE.run(tx, **customer._asdict(), outcome=OUTCOME_ERASED)


async def purge(tx: Connection, before: datetime, limit: int) -> int:
    """Delete messages that were answered before a time; returns how many."""
    return await _PURGE.run(tx, before=before, limit=limit)


def aad(key: InboundKey, column: str) -> tuple[str, ...]:
    """What an encrypted column of a message is bound to."""
    return "inbound_messages", column, *key


def _pending(tx: Connection, row: _PendingRow) -> Pending:
    key = InboundKey(row.gateway, row.gateway_message)
    try:
        phone = decrypt(tx, row.phone, *aad(key, "phone"))
        text, readable = decrypt(tx, row.text, *aad(key, "text")), True
    except UnreadableError:
        phone, text, readable = "", "", False
    inbound = Inbound(key, phone, row.recipient, text)
    return Pending(inbound, row.receive_time, row.recent_count, row.was_helped, readable)


def _acting(tx: Connection, row: _ActingRow) -> Acting:
    key = InboundKey(row.gateway, row.gateway_message)
    try:
        phone, readable = decrypt(tx, row.phone, *aad(key, "phone")), True
    except UnreadableError:
        phone, readable = "", False
    customer = CustomerKey(row.merchant, row.customer)
    act = Act(row.word, customer, row.subject_resource, row.title, row.due_date)
    return Acting(key, phone, act, row.receive_time, row.attempt_count, row.is_silent, readable)
