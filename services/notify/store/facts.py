"""The facts of notices: stored as JSON of their kind, encrypted."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from services.notify.domain.notices import Facts, Notice, NoticeKey, NoticeKind
from services.notify.domain.templates.examples import EXAMPLES
from services.runtime.crypto.encryption import decrypt, encrypt
from services.runtime.db.pool import Connection


@cache
def _adapters() -> Mapping[NoticeKind, TypeAdapter[Any]]:
    """By kind, what reads its facts; a field that is not known, of a newer version, is passed over."""
    return {kind: TypeAdapter(type(example)) for kind, example in EXAMPLES.items()}


def encrypted_facts(tx: Connection, notice: Notice) -> bytes:
    """The facts of a notice as they are stored."""
    if notice.facts is None:
        return b""
    json = _adapters()[notice.kind].dump_json(notice.facts, exclude_defaults=True)
    return encrypt(tx, json.decode(), *aad(notice.key))


def facts_of(tx: Connection, key: NoticeKey, kind: NoticeKind, stored: bytes) -> Facts | None:
    """The facts of a notice, unless they are erased. Raises UnreadableError."""
    if not stored:
        return None
    facts: Facts = _adapters()[kind].validate_json(decrypt(tx, stored, *aad(key)))
    return facts


def aad(key: NoticeKey) -> tuple[str, ...]:
    """What the facts of a notice are bound to."""
    return "notices", "facts", *key
