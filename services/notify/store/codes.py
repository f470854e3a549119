"""The one-time codes that prove phones."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.domain import (
    CODE_WRONG_MAX,
    FAILURE_CODE_VOID,
    CustomerKey,
    PhoneCode,
)
from services.runtime.sealing import keyring, seal, unseal

# So many phones are forgotten with each code that is sent: more than come new.
FORGET_BATCH_ROWS = 100

_INSERT = text("""
    INSERT INTO phone_codes (merchant, customer, notice, phone, salt, code_hash, state, create_time,
                             expire_time)
    VALUES (:merchant, :customer, :notice, :phone, :salt, :code_hash, 'PENDING', :create_time,
            :expire_time)
""")

_PENDING = text("""
    SELECT * FROM phone_codes
    WHERE customer = :customer AND merchant = :merchant AND state = 'PENDING'
    FOR UPDATE
""")

_MADE_BEFORE = text("""
    SELECT create_time FROM phone_codes
    WHERE customer = :customer AND merchant = :merchant
    ORDER BY create_time DESC OFFSET :newer LIMIT 1
""")

# The row's lock lets one code at a time be counted, whosever customers they are for.
_COUNT_SENT = text("""
    INSERT INTO code_recipients AS known (phone_blind_index, send_times)
    VALUES (:phone_blind_index, ARRAY[CAST(:now AS timestamptz)])
    ON CONFLICT (phone_blind_index) DO UPDATE
        SET send_times = (EXCLUDED.send_times || known.send_times)[1:CAST(:kept AS integer)]
    RETURNING send_times[CAST(:kept AS integer)]
""")

_FORGET_SENT = text("""
    DELETE FROM code_recipients WHERE phone_blind_index IN (
        SELECT phone_blind_index FROM code_recipients
        WHERE send_times[1] <= :until LIMIT :limit FOR UPDATE SKIP LOCKED)
""")

# A code that is void need not be sent any more, and its text must not outlive it.
_VOID = text("""
    WITH voided AS (
        UPDATE phone_codes SET state = 'VOID'
        WHERE customer = :customer AND merchant = :merchant AND state = 'PENDING'
        RETURNING customer, merchant, notice)
    UPDATE deliveries SET state = 'FAILED', failure_code = :failure_code, secret_text = NULL
    FROM voided
    WHERE deliveries.customer = voided.customer AND deliveries.merchant = voided.merchant
      AND deliveries.notice = voided.notice AND deliveries.state = 'PENDING'
""")

_COUNT_WRONG = text("""
    UPDATE phone_codes SET wrong_count = wrong_count + 1,
        state = CASE WHEN wrong_count + 1 >= :wrong_max THEN 'VOID' ELSE state END
    WHERE customer = :customer AND merchant = :merchant AND state = 'PENDING'
""")

_USE = text("""
    UPDATE phone_codes SET state = 'USED'
    WHERE customer = :customer AND merchant = :merchant AND state = 'PENDING'
    RETURNING notice, phone
""")

_DELETE = text("DELETE FROM phone_codes WHERE customer = :customer AND merchant = :merchant")


async def insert(
    tx: AsyncConnection, key: CustomerKey, code: PhoneCode, create_time: datetime
) -> None:
    """Store a code that is being sent. The one before must have been voided."""
    await tx.execute(
        _INSERT,
        {
            **_key(key),
            "notice": code.notice,
            "phone": seal(tx, code.phone, *place(key, code.notice)),
            "salt": code.salt,
            "code_hash": code.code_hash,
            "create_time": create_time,
            "expire_time": code.expire_time,
        },
    )


async def pending(tx: AsyncConnection, key: CustomerKey) -> PhoneCode | None:
    """The code that the customer can still use, expired or not; locked."""
    row = (await tx.execute(_PENDING, _key(key))).one_or_none()
    if row is None:
        return None
    return PhoneCode(
        notice=row.notice,
        phone=unseal(tx, row.phone, *place(key, row.notice)),
        salt=bytes(row.salt),
        code_hash=bytes(row.code_hash),
        wrong_count=row.wrong_count,
        expire_time=row.expire_time,
    )


async def made_before(tx: AsyncConnection, key: CustomerKey, newer: int) -> datetime | None:
    """When the code was made that so many of the customer's are newer than; None if there is none."""
    found: datetime | None = await tx.scalar(_MADE_BEFORE, {**_key(key), "newer": newer})
    return found


async def count_sent(tx: AsyncConnection, phone: str, now: datetime, newer: int) -> datetime | None:
    """Count a code to a phone, of whichever merchant's customer; undone if the transaction is.

    Returns when the code was sent to it that so many are newer than, this one among them; None if there
    is none. A key that follows another counts anew.
    """
    index = keyring(tx.engine).blind_index(phone, "code_recipients", "phone_blind_index")
    values = {"phone_blind_index": index, "now": now, "kept": newer + 1}
    found: datetime | None = await tx.scalar(_COUNT_SENT, values)
    return found


async def forget_sent(tx: AsyncConnection, until: datetime) -> None:
    """Forget phones to which no code was sent after a time.

    Comes after `count_sent`, so that nobody waits for a phone's lock who holds another's.
    """
    await tx.execute(_FORGET_SENT, {"until": until, "limit": FORGET_BATCH_ROWS})


async def void(tx: AsyncConnection, key: CustomerKey) -> None:
    """Void the customer's code, if there is one, and its message, if that is still on its way."""
    await tx.execute(_VOID, {**_key(key), "failure_code": FAILURE_CODE_VOID})


async def count_wrong(tx: AsyncConnection, key: CustomerKey) -> None:
    """Count a wrong guess at the customer's code; the last one allowed voids it."""
    await tx.execute(_COUNT_WRONG, {**_key(key), "wrong_max": CODE_WRONG_MAX})


async def use(tx: AsyncConnection, key: CustomerKey) -> str:
    """Mark the customer's pending code as used; returns the phone that it proves."""
    row = (await tx.execute(_USE, _key(key))).one()
    return unseal(tx, row.phone, *place(key, row.notice))


async def delete(tx: AsyncConnection, key: CustomerKey) -> None:
    """Delete all codes of a customer, and the phones that they went to."""
    await tx.execute(_DELETE, _key(key))


def place(key: CustomerKey, notice: str) -> tuple[str, ...]:
    """What the sealed phone of a code is bound to."""
    return "phone_codes", "phone", key.merchant, key.customer, notice


def _key(key: CustomerKey) -> dict[str, str]:
    return {"merchant": key.merchant, "customer": key.customer}
