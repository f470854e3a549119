"""An encrypted value is decrypted with its key and additional data, unaltered, and not otherwise."""

import base64

import pytest

from services.runtime.crypto.encryption import Keyring, UnreadableError

PLACE = ("contacts", "phone", "acme", "ann")
PHONE = b"+491701234567"


def key(number: int) -> str:
    return f"key-{number}:{base64.b64encode(bytes([number]) * 32).decode()}"


OLD, NEW, BOTH = (Keyring.parse(keys) for keys in (key(1), key(2), f"{key(2)},{key(1)}"))
ENCRYPTED_TABLES = OLD.encrypt(PHONE, *PLACE)


def test_what_is_encrypted_opens_in_its_place_and_shows_nothing() -> None:
    assert OLD.decrypt(ENCRYPTED_TABLES, *PLACE) == PHONE
    assert PHONE not in ENCRYPTED_TABLES
    assert OLD.encrypt(PHONE, *PLACE) != ENCRYPTED_TABLES


def test_nothing_stays_nothing() -> None:
    assert (OLD.encrypt(b"", *PLACE), OLD.decrypt(b"", *PLACE), NEW.renew(b"", *PLACE)) == (
        b"",
        b"",
        b"",
    )


@pytest.mark.parametrize(
    ("keyring", "encrypted", "place"),
    [
        (NEW, ENCRYPTED_TABLES, PLACE),
        (OLD, ENCRYPTED_TABLES, (*PLACE[:3], "bob")),
        (OLD, ENCRYPTED_TABLES[:-1] + bytes([ENCRYPTED_TABLES[-1] ^ 1]), PLACE),
        (OLD, ENCRYPTED_TABLES[:10], PLACE),
        (OLD, b"key-1:", PLACE),
        (OLD, PHONE, PLACE),
    ],
    ids=["without its key", "moved", "altered", "cut short", "emptied", "never encrypted"],
)
def test_what_is_not_as_it_was_encrypted_does_not_open(
    keyring: Keyring, encrypted: bytes, place: tuple[str, ...]
) -> None:
    with pytest.raises(UnreadableError):
        keyring.decrypt(encrypted, *place)


def test_a_value_is_found_again_by_its_hash_in_its_place_with_the_newest_key() -> None:
    hashes = {
        keyring.blind_index(phone, *place)
        for keyring in (OLD, NEW)
        for phone in ("+491701234567", "+491701234568")
        for place in (PLACE[:2], ("contacts", "email"))
    }

    assert len(hashes) == 8
    assert BOTH.blind_index("1", "a", "b") == NEW.blind_index("1", "a", "b")


def test_a_keyed_hash_is_compared_under_the_key_that_made_it() -> None:
    kept = OLD.keyed_hash("12345678", *PLACE)
    assert BOTH.matches(kept, "12345678", *PLACE)
    assert not BOTH.matches(kept, "12345679", *PLACE)
    assert not BOTH.matches(kept, "12345678", *PLACE[:2])
    assert BOTH.keyed_hash("12345678", *PLACE) == NEW.keyed_hash("12345678", *PLACE) != kept
    with pytest.raises(UnreadableError):
        NEW.matches(kept, "12345678", *PLACE)


def test_what_an_older_key_encrypted_is_reencrypted_once() -> None:
    renewed = BOTH.renew(ENCRYPTED_TABLES, *PLACE)
    assert NEW.decrypt(renewed, *PLACE) == PHONE
    assert BOTH.renew(renewed, *PLACE) == renewed
