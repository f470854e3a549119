"""Tokens of the links in messages: short enough for an SMS, and too many to be guessed."""

import secrets

# Without letters and digits that are mistaken for each other, since a token may be typed: 5 bits each.
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
# 100 bits: of a billion open links, a million tries a second find one in 40 million years.
CHARACTERS = 20


def new_link_token() -> str:
    """A token that nobody has or will have."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CHARACTERS))
