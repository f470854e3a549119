"""Addresses as they are stored and handed on: encrypted for their customer.

Whoever has nothing to show leaves them closed: an order gets that of its standing order as it is.
"""

from google.type.postal_address_pb2 import PostalAddress

from services.runtime.crypto.encryption import Keyring
from services.scheduler.domain.ids import CustomerId, MerchantId


def encrypt(
    keyring: Keyring, merchant: MerchantId, customer: CustomerId, address: PostalAddress
) -> bytes:
    """Encrypt an address; an empty one is none."""
    plain = address.SerializeToString(deterministic=True)
    return keyring.encrypt(plain, *aad(merchant, customer))


def decrypt(
    keyring: Keyring, merchant: MerchantId, customer: CustomerId, encrypted: bytes
) -> PostalAddress:
    """Open an address of a customer; none is an empty one."""
    return PostalAddress.FromString(keyring.decrypt(encrypted, *aad(merchant, customer)))


def aad(merchant: MerchantId, customer: CustomerId) -> tuple[str, ...]:
    """What an address is bound to, wherever it is stored."""
    return "addresses", merchant, customer
