"""Encryption of personal data, each value bound to its table, column and key by additional data (AAD).

Sources: AES-256-GCM with random nonces (NIST SP 800-38D, which allows 2^32 values a key); for values
that are only compared, HMAC-SHA-256 with a key derived by HKDF (RFC 5869).
"""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.runtime.observability import metrics

KEY_BYTES = 32
NONCE_BYTES = 12
_KEY_ID = re.compile(r"[a-z0-9-]{1,32}")
_AFTER_KEY_ID = b":"


class UnreadableError(Exception):
    """A value cannot be decrypted: its key is missing, or it was altered or moved."""


class Keyring:
    """The keys of one database: the first one encrypts, all of them decrypt.

    An encrypted value begins with the id of its key, so the keys can be rotated at any time.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._current = next(iter(keys)).encode()
        self._ciphers = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"blind index")
        self._index_key = derived.derive(keys[next(iter(keys))])
        self._hash_keys = {
            key_id.encode(): HKDF(SHA256(), KEY_BYTES, salt=None, info=b"keyed hash").derive(key)
            for key_id, key in keys.items()
        }

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `id:base64`, separated by commas. Raises ValueError without a key in its message."""
        keys: dict[str, bytes] = {}
        for entry in text.split(","):
            key_id, _, encoded = entry.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                key = b""
            if not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES or key_id in keys:
                raise ValueError(
                    f"must be id:key, separated by commas, each id once and each key "
                    f"{KEY_BYTES} bytes in base64"
                )
            keys[key_id] = key
        return cls(keys)

    def encrypt(self, plain: bytes, *aad: str) -> bytes:
        """Encrypt a value with its AAD (table, column, key); an empty value stays empty."""
        if not plain:
            return b""
        nonce = secrets.token_bytes(NONCE_BYTES)
        encrypted = self._ciphers[self._current].encrypt(nonce, plain, _bound(aad))
        return self._current + _AFTER_KEY_ID + nonce + encrypted

    def decrypt(self, encrypted: bytes, *aad: str) -> bytes:
        """Decrypt a value that was encrypted with this AAD. Raises UnreadableError."""
        if not encrypted:
            return b""
        key_id, _, rest = encrypted.partition(_AFTER_KEY_ID)
        if key_id not in self._ciphers:
            metrics.VALUES_UNREADABLE.add(1)
            raise UnreadableError("encrypted with a key that RECURRING_DATA_KEYS does not have")
        nonce, encrypted = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        try:
            return self._ciphers[key_id].decrypt(nonce, encrypted, _bound(aad))
        # A nonce that is too short is a ValueError.
        except (InvalidTag, ValueError) as error:
            metrics.VALUES_UNREADABLE.add(1)
            raise UnreadableError("altered, or moved from another row") from error

    def renew(self, encrypted: bytes, *aad: str) -> bytes:
        """The value encrypted with the newest key. Raises UnreadableError."""
        if encrypted.startswith(self._current + _AFTER_KEY_ID):
            return encrypted
        return self.encrypt(self.decrypt(encrypted, *aad), *aad)

    def blind_index(self, plain: str, *aad: str) -> bytes:
        """A keyed hash by which a value in a column is found again.

        It changes with the key, so it is for values that are soon deleted.
        """
        return hmac.digest(self._index_key, _bound((*aad, plain)), "sha256")

    def keyed_hash(self, plain: str, *aad: str) -> bytes:
        """A keyed hash that a secret is compared with; it begins with the id of its key."""
        return self._current + _AFTER_KEY_ID + self._digest(self._current, plain, aad)

    def keyed_hashes(self, plain: str, *aad: str) -> list[bytes]:
        """The keyed hashes of a text under each key, by which a column of them is searched."""
        return [
            key_id + _AFTER_KEY_ID + self._digest(key_id, plain, aad) for key_id in self._hash_keys
        ]

    def matches(self, keyed_hash: bytes, plain: str, *aad: str) -> bool:
        """Whether a keyed hash is that of a text, in constant time. Raises UnreadableError."""
        key_id, _, kept = keyed_hash.partition(_AFTER_KEY_ID)
        if key_id not in self._hash_keys:
            metrics.VALUES_UNREADABLE.add(1)
            raise UnreadableError("hashed with a key that RECURRING_DATA_KEYS does not have")
        return hmac.compare_digest(self._digest(key_id, plain, aad), kept)

    def _digest(self, key_id: bytes, plain: str, aad: tuple[str, ...]) -> bytes:
        return hmac.digest(self._hash_keys[key_id], _bound((*aad, plain)), "sha256")


class HasKeyring(Protocol):
    """A connection to a database with encrypted data."""

    keyring: Keyring


def encrypt(tx: HasKeyring, plain: str, *aad: str) -> bytes:
    """Encrypt a text with the keys of a connection's database."""
    return tx.keyring.encrypt(plain.encode(), *aad)


def decrypt(tx: HasKeyring, encrypted: bytes, *aad: str) -> str:
    """Decrypt a text with the keys of a connection's database. Raises UnreadableError."""
    return tx.keyring.decrypt(encrypted, *aad).decode()


def _bound(aad: tuple[str, ...]) -> bytes:
    return "\0".join(aad).encode()
