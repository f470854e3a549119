"""Payment methods that expire: renewed as their networks say, or announced to their customers."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.payments import publishers
from services.payments.clients.provider import Card, Provider, ProviderUnreachable
from services.payments.domain.expiry import (
    UNREACHABLE_DELAY,
    Checked,
    ExpiringMethod,
    Shown,
    check,
    wait_time,
)
from services.payments.domain.outcomes import Unknown
from services.payments.store import expiry as store
from services.payments.store.encrypted import token_aad
from services.runtime.crypto.encryption import UnreadableError
from services.runtime.db.pool import Connection, Database
from services.runtime.messaging import outbox

# What the provider shows of a method; None: nothing any more.
Answer = Card | None | Unknown


def to_ask(
    methods: Sequence[ExpiringMethod], notice_ahead: timedelta, now: datetime
) -> tuple[list[ExpiringMethod], list[Checked]]:
    """Which methods the provider is asked about now, and when the others are looked at again."""
    asked, waiting = [], []
    for method in methods:
        if method.detach_time is not None or method.block_time is not None:
            waiting.append(Checked(method, None))
        elif (until := wait_time(method, notice_ahead, now)) is not None:
            waiting.append(Checked(method, until))
        else:
            asked.append(method)
    return asked, waiting


async def ask(database: Database, provider: Provider, method: ExpiringMethod) -> Answer:
    """What the provider shows of a method now: networks renew cards without anybody's doing."""
    try:
        token = database.keyring.decrypt(method.provider_token, *token_aad(method.key)).decode()
        return await provider.card(token)
    except UnreadableError:
        return Unknown("the token does not open")
    except ProviderUnreachable as error:
        return Unknown(str(error))


async def settle(tx: Connection, looks: Sequence[Checked], now: datetime) -> None:
    """Write what the looks came to. What somebody else has looked at meanwhile is left as it is."""
    written = await store.save(tx, looks)
    await outbox.put(
        tx,
        [
            publishers.payment_method_expiring(look.method, now)
            for look in looks
            if look.is_notice_due and look.method.key in written
        ],
    )


def checked(method: ExpiringMethod, answer: Answer, now: datetime) -> Checked:
    """What a look at a method comes to by the provider's answer."""
    if isinstance(answer, Unknown):
        return Checked(method, now + UNREACHABLE_DELAY)
    shown = None if answer is None else Shown(answer.brand, answer.last4, answer.expire_time)
    return check(method, shown, now)
