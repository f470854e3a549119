"""The one-time codes that prove phones."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from services.notify.domain.notices import (
    FAILURE_CODE_VOID,
    CustomerKey,
    MerchantId,
    NoticeId,
    NoticeKey,
)
from services.notify.domain.phone_codes import (
    CODES_MAX,
    CODES_TO_PREFIX_MAX,
    CodePurpose,
    PhoneCode,
    Spent,
)
from services.notify.domain.phone_numbers import prefix_of
from services.notify.domain.transitions import (
    DELIVERY,
    PHONE_CODE,
    CodeEvent,
    CodeState,
    DeliveryEvent,
    DeliveryState,
)
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

# So many limits are forgotten with each code that is sent: more than come new.
FORGET_BATCH_ROWS = 100

_INSERT = Command("""
    INSERT INTO phone_codes (merchant, customer, notice, purpose, phone, code_hash, state,
                             create_time, expire_time)
    VALUES (:merchant, :customer, :notice, :purpose, :phone, :code_hash, :state, :create_time,
            :expire_time)
""")


class _PendingRow(NamedTuple):
    """A code that a customer can still use, its phone encrypted."""

    notice: NoticeId
    purpose: CodePurpose
    phone: bytes
    code_hash: bytes
    wrong_count: int
    expire_time: datetime


_PENDING = Query(
    """
    SELECT notice, purpose, phone, code_hash, wrong_count, expire_time FROM phone_codes
    WHERE customer = :customer AND merchant = :merchant AND state = 'PENDING'
    FOR UPDATE
""",
    _PendingRow,
)


class _SentRow(NamedTuple):
    """When the last codes were sent to one subject of a limit, the newest first."""

    subject_blind_index: bytes
    send_times: list[datetime]


# Locked in the order given, the same for everybody: one code at a time is counted for each of them.
_COUNT_SENT = Query(
    """
    INSERT INTO code_limits AS known (subject_blind_index, send_times)
    SELECT counted.subject, ARRAY[CAST(:now AS timestamptz)]
    FROM unnest(CAST(:subjects AS bytea[])) AS counted (subject)
    ON CONFLICT (subject_blind_index) DO UPDATE
        SET send_times = (EXCLUDED.send_times || known.send_times)[1:CAST(:kept AS integer)]
    RETURNING subject_blind_index, send_times
""",
    _SentRow,
)

_FORGET_SENT = Command("""
    DELETE FROM code_limits WHERE subject_blind_index = ANY (ARRAY(
        SELECT subject_blind_index FROM code_limits
        WHERE send_times[1] <= :until
        ORDER BY send_times[1] LIMIT :limit FOR UPDATE SKIP LOCKED))
""")


class _SpentRow(NamedTuple):
    """How many codes a merchant has sent in its present hour or day, and what they cost."""

    period: str
    sent_count: int
    spent_micros: int


_COUNT_SPENT = Query(
    """
    INSERT INTO code_budgets AS known (merchant, period, start_time, sent_count, spent_micros)
    SELECT :merchant, period, start_time, :count, :cost_micros
    FROM unnest(CAST(:periods AS text[]), CAST(:start_times AS timestamptz[]))
      AS current (period, start_time)
    ON CONFLICT (merchant, period) DO UPDATE SET start_time = EXCLUDED.start_time,
        sent_count = CASE WHEN known.start_time = EXCLUDED.start_time
                          THEN known.sent_count ELSE 0 END + EXCLUDED.sent_count,
        spent_micros = CASE WHEN known.start_time = EXCLUDED.start_time
                            THEN known.spent_micros ELSE 0 END + EXCLUDED.spent_micros
    RETURNING period, sent_count, spent_micros
""",
    _SpentRow,
)

# Those of both purposes. A code that is void need not be sent any more; its text must not outlive it.
_VOID = Command("""
    WITH voided AS (
        UPDATE phone_codes SET state = :void
        WHERE customer = :customer AND merchant = :merchant AND state = 'PENDING'
          AND purpose = ANY(CAST(:purposes AS text[]))
        RETURNING customer, merchant, notice)
    UPDATE deliveries SET state = :failed, failure_code = :failure_code, secret_text = NULL
    FROM voided
    WHERE deliveries.customer = voided.customer AND deliveries.merchant = voided.merchant
      AND deliveries.notice = voided.notice AND deliveries.state || '' = 'PENDING'
""")

_COUNT_WRONG = Command("""
    UPDATE phone_codes SET wrong_count = wrong_count + 1, state = :state
    WHERE customer = :customer AND merchant = :merchant AND purpose = :purpose
      AND state = 'PENDING'
""")


_USE = Command("""
    UPDATE phone_codes SET state = :used
    WHERE customer = :customer AND merchant = :merchant AND purpose = ANY(CAST(:purposes AS text[]))
      AND state = 'PENDING'
""")

_DELETE = Command("DELETE FROM phone_codes WHERE customer = :customer AND merchant = :merchant")


async def insert(tx: Connection, code: PhoneCode, create_time: datetime) -> None:
    """Store a code that is being sent. The one of its purpose before must have been voided."""
    await _INSERT.run(
        tx,
        **code.notice._asdict(),
        purpose=code.purpose,
        phone=encrypt(tx, code.phone, *aad(code.notice)),
        code_hash=code.code_hash,
        state=CodeState.PENDING,
        create_time=create_time,
        expire_time=code.expire_time,
    )


async def pending(tx: Connection, key: CustomerKey) -> dict[CodePurpose, PhoneCode]:
    """The codes that the customer can still use, expired or not; locked."""
    rows = await _PENDING.all(tx, **key._asdict())
    return {row.purpose: _code(tx, key, row) for row in rows}


def _code(tx: Connection, key: CustomerKey, row: _PendingRow) -> PhoneCode:
    notice = NoticeKey(*key, row.notice)
    return PhoneCode(
        notice=notice,
        purpose=row.purpose,
        phone=decrypt(tx, row.phone, *aad(notice)),
        code_hash=bytes(row.code_hash),
        wrong_count=row.wrong_count,
        expire_time=row.expire_time,
    )


class CallerLimit(NamedTuple):
    """How many codes of a merchant's one caller may ask for in an hour."""

    subject: str
    hour_max: int


async def count_sent(
    tx: Connection, key: CustomerKey, phones: Collection[str], caller: CallerLimit, now: datetime
) -> tuple[datetime, ...]:
    """Count codes of a request: once for a customer and of a caller, and to each phone and its prefix.

    It is undone if the transaction is.

    Returns, of each that has had more than its limit, when the code was sent that so many are newer
    than, this one among them. A key that follows another counts from zero.
    """
    # Those of one kind in their order, so that nobody waits for one's lock who holds another's.
    to_phones = sorted(_blind_index(tx, "phone", phone) for phone in phones)
    to_prefixes = sorted(
        {_blind_index(tx, "prefix", key.merchant, prefix_of(phone)) for phone in phones}
    )
    limits = {
        _blind_index(tx, "customer", key.merchant, key.customer): CODES_MAX,
        **dict.fromkeys(to_phones, CODES_MAX),
        **dict.fromkeys(to_prefixes, CODES_TO_PREFIX_MAX),
        _blind_index(tx, "caller", key.merchant, caller.subject): caller.hour_max,
    }
    return await _exceeded(tx, limits, now)


async def _exceeded(
    tx: Connection, limits: Mapping[bytes, int], now: datetime
) -> tuple[datetime, ...]:
    values = {"subjects": list(limits), "now": now, "kept": max(limits.values()) + 1}
    times = {
        bytes(row.subject_blind_index): row.send_times
        for row in await _COUNT_SENT.all(tx, **values)
    }
    return tuple(
        times[subject][limit] for subject, limit in limits.items() if len(times[subject]) > limit
    )


async def count_link(
    tx: Connection, key: CustomerKey, email: str, caller: CallerLimit, now: datetime
) -> tuple[datetime, ...]:
    """Count a link by e-mail, as `count_sent` counts codes."""
    limits = {
        _blind_index(tx, "customer-email", key.merchant, key.customer): CODES_MAX,
        _blind_index(tx, "email", email.lower()): CODES_MAX,
        _blind_index(tx, "caller-email", key.merchant, caller.subject): caller.hour_max,
    }
    return await _exceeded(tx, limits, now)


async def count_spent(
    tx: Connection, merchant: MerchantId, count: int, cost_micros: int, now: datetime
) -> Spent:
    """Count codes against a merchant's budget of this hour and this day (UTC)."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    values = {
        "merchant": merchant,
        "count": count,
        "cost_micros": cost_micros,
        "periods": ["HOUR", "DAY"],
        "start_times": [hour, hour.replace(hour=0)],
    }
    rows = {row.period: row for row in await _COUNT_SPENT.all(tx, **values)}
    return Spent(rows["HOUR"].sent_count, rows["DAY"].sent_count, rows["DAY"].spent_micros)


async def forget_sent(tx: Connection, until: datetime) -> None:
    """Forget phones, ranges and customers for which no code was sent after a time.

    Comes after `count_sent`, so that nobody waits for one's lock who holds another's.
    """
    await _FORGET_SENT.run(tx, until=until, limit=FORGET_BATCH_ROWS)


async def void(tx: Connection, key: CustomerKey, purposes: Collection[CodePurpose]) -> None:
    """Void the customer's codes, if there are any, and their messages, if these are on their way."""
    await _VOID.run(
        tx,
        **key._asdict(),
        purposes=list(purposes),
        void=PHONE_CODE.to(CodeState.PENDING, CodeEvent.VOID),
        failed=DELIVERY.to(DeliveryState.PENDING, DeliveryEvent.FAIL),
        failure_code=FAILURE_CODE_VOID,
    )


async def count_wrong(
    tx: Connection, key: CustomerKey, purpose: CodePurpose, state: CodeState
) -> None:
    """Count a wrong guess at a customer's code, which is in a state by it."""
    await _COUNT_WRONG.run(tx, **key._asdict(), purpose=purpose, state=state)


async def use(tx: Connection, key: CustomerKey, purposes: Collection[CodePurpose]) -> None:
    """Mark the customer's pending codes of these purposes as used."""
    used = PHONE_CODE.to(CodeState.PENDING, CodeEvent.USE)
    await _USE.run(tx, **key._asdict(), purposes=list(purposes), used=used)


async def delete(tx: Connection, key: CustomerKey) -> None:
    """Delete all codes of a customer, and the phones that they went to."""
    await _DELETE.run(tx, **key._asdict())


def hash_code(tx: Connection, key: NoticeKey, code: str) -> bytes:
    """What is kept of a code, which is good for this notice alone."""
    return tx.keyring.keyed_hash(code, "phone_codes", "code_hash", *key)


def matches(tx: Connection, pending: PhoneCode, code: str) -> bool:
    """Whether a code is the one that was sent, in constant time. Raises UnreadableError."""
    return tx.keyring.matches(pending.code_hash, code, "phone_codes", "code_hash", *pending.notice)


def aad(key: NoticeKey) -> tuple[str, ...]:
    """What the encrypted phone of a code is bound to."""
    return "phone_codes", "phone", *key


def _blind_index(tx: Connection, *subject: str) -> bytes:
    """What a limit is kept under: names nobody without the service's key."""
    value = "\n".join(subject)
    return tx.keyring.blind_index(value, "code_limits", "subject_blind_index")
