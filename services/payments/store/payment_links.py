"""Links by which customers pay requests: their tokens are kept as keyed hashes alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.keys import ChargeId, ChargeKey, CustomerId, MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar


class PaymentLink(NamedTuple):
    """A link, and whether somebody has paid by it."""

    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    use_time: datetime | None

    @property
    def charge_key(self) -> ChargeKey:
        """What is paid by it."""
        return ChargeKey(self.merchant, self.customer, self.charge)


_INSERT = Command("""
    INSERT INTO payment_links (merchant, customer, charge, token_hash, create_time)
    SELECT *, CAST(:now AS timestamptz) FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:token_hash AS bytea[]))
""")

_GET = Query(
    """
    SELECT merchant, customer, charge, use_time FROM payment_links
    WHERE merchant = :merchant AND token_hash = :token_hash
""",
    PaymentLink,
)

_USE = Query(
    """
    UPDATE payment_links SET use_time = :now
    WHERE customer = :customer AND merchant = :merchant AND charge = :charge
      AND token_hash = :token_hash AND use_time IS NULL
    RETURNING charge
""",
    scalar,
)


async def insert(tx: Connection, tokens: Mapping[ChargeKey, str], now: datetime) -> None:
    """Add a link to each charge."""
    hashes = [_hash(tx, key.merchant, token) for key, token in tokens.items()]
    await _INSERT.run_for(tx, tokens, token_hash=hashes, now=now)


async def get(tx: Connection, merchant: MerchantId, token: str) -> PaymentLink | None:
    """The link of a token; None if the merchant has none."""
    hashed = _hash(tx, merchant, token)
    return await _GET.one_or_none(tx, merchant=merchant, token_hash=hashed)


async def use(tx: Connection, link: PaymentLink, token: str, now: datetime) -> bool:
    """Use a link up; whether this caller was the first."""
    hashed = _hash(tx, link.merchant, token)
    used = await _USE.one_or_none(tx, **link.charge_key._asdict(), token_hash=hashed, now=now)
    return used is not None


def _hash(tx: Connection, merchant: MerchantId, token: str) -> bytes:
    return tx.keyring.blind_index(token, "payment_links", "token_hash", merchant)
