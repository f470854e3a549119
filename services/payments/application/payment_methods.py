"""Payment methods: registered by a token that the provider knows."""

from datetime import datetime

from services.payments.clients.provider import Card, Provider
from services.payments.domain.consent import PaymentMethod
from services.payments.domain.keys import PaymentMethodKey
from services.payments.store import payment_methods as store
from services.payments.store.encrypted import token_aad
from services.runtime.crypto.encryption import encrypt
from services.runtime.db.pool import Connection
from services.runtime.errors import already_exists, not_found, wrong_state
from services.runtime.mutations import Applied


async def known_card(provider: Provider, token: str) -> Card:
    """What a token stands for. Raises FAILED_PRECONDITION PROVIDER_TOKEN_UNKNOWN."""
    card = await provider.card(token)
    if card is None:
        raise wrong_state("PROVIDER_TOKEN_UNKNOWN", "the provider does not know the token")
    return card


async def create(
    tx: Connection, key: PaymentMethodKey, token: str, card: Card, now: datetime
) -> Applied[PaymentMethod]:
    """Register a payment method. Raises ALREADY_EXISTS PAYMENT_METHOD_ALREADY_EXISTS."""
    encrypted = encrypt(tx, token, *token_aad(key))
    method = PaymentMethod(*key, encrypted, card.brand, card.last4, now)
    if not await store.insert(tx, method):
        raise already_exists("PAYMENT_METHOD_ALREADY_EXISTS", key.name)
    return Applied(method)


async def existing(connection: Connection, key: PaymentMethodKey) -> PaymentMethod:
    """A payment method. Raises NOT_FOUND PAYMENT_METHOD_NOT_FOUND."""
    method = (await store.by_key(connection, [key])).get(key)
    if method is None:
        raise not_found("PAYMENT_METHOD_NOT_FOUND", key.name)
    return method
