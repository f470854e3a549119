"""A mutation happens once a request id: the same id answers the same again (AIP-155)."""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message

from services.runtime.auth.call_context import caller
from services.runtime.crypto import encryption
from services.runtime.db.key_rotation import EncryptedColumn, EncryptedTable
from services.runtime.db.pool import Connection, Database
from services.runtime.db.statements import Command, Query
from services.runtime.errors import FieldViolation, Problem, Violations
from services.runtime.rpc.conversions import read_uuid

Res = TypeVar("Res", bound=Message)


class _Request(NamedTuple):
    method: str
    content_hash: bytes
    response: bytes


_FIND = Query(
    """
    SELECT method, content_hash, response FROM requests
    WHERE tenant = :tenant AND request_id = :request_id
    """,
    _Request,
)

_TAKE = Command("""
    INSERT INTO requests (tenant, request_id, method, content_hash, response)
    VALUES (:tenant, :request_id, :method, :content_hash, '')
    ON CONFLICT (tenant, request_id) DO NOTHING
""")

_RELEASE = Command("""
    DELETE FROM requests WHERE tenant = :tenant AND request_id = :request_id
""")

_ANSWER = Command("""
    UPDATE requests SET response = :response WHERE tenant = :tenant AND request_id = :request_id
""")


# Answers to requests about resources, forgotten: who repeats one of them is answered with nothing.
_FORGET = Command("""
    UPDATE requests SET response = ''
    WHERE tenant = :tenant AND response <> '' AND request_id IN (
        SELECT request_id FROM audit_entries
        WHERE tenant = :tenant AND resource = ANY(CAST(:resources AS text[])))
""")


class Mutation:
    """One request that changes something, identified by its tenant and request id."""

    def __init__(self, request: Message, request_id: str) -> None:
        violations = Violations()
        identity = read_uuid(violations, "request_id", request_id)
        violations.check()
        self.method = request.DESCRIPTOR.full_name
        self.request_id = identity
        self._request = request
        self._key: dict[str, Any] = {"tenant": caller().tenant, "request_id": identity}
        self._hash = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()

    async def answered(self, database: Database, response_type: type[Res]) -> Res | None:
        """As `replay`, for a method that asks other services before its transaction begins."""
        async with database.read() as connection:
            return await self.replay(connection, response_type)

    async def replay(self, connection: Connection, response_type: type[Res]) -> Res | None:
        """What this request was answered before; None if it is new.

        Raises INVALID_ARGUMENT REQUEST_ID_REUSED if the id came with other content.
        """
        row = await _FIND.one_or_none(connection, **self._key)
        if row is None:
            return None
        known_hash = self._open(connection, "content_hash", row.content_hash)
        if row.method != self.method or known_hash != self._hash:
            raise Problem(
                grpc.StatusCode.INVALID_ARGUMENT,
                "REQUEST_ID_REUSED",
                "request_id was used for another request",
                (
                    FieldViolation(
                        "request_id", "REQUEST_ID_REUSED", "must be new for a new request"
                    ),
                ),
            )
        return response_type.FromString(self._open(connection, "response", row.response))

    async def take(self, tx: Connection, response_type: type[Res]) -> Res | None:
        """Take the request id for this transaction; the earlier answer if it is taken already."""
        content_hash = self._encrypt(tx, "content_hash", self._hash)
        if await _TAKE.run(tx, **self._key, method=self.method, content_hash=content_hash):
            return None
        # Whoever took the id has committed by now: the insert waited for it.
        answer = await self.replay(tx, response_type)
        if answer is None:
            msg = "a request that was taken has gone"
            raise RuntimeError(msg)
        return answer

    async def remember(self, tx: Connection, response: Message) -> None:
        """Keep the answer, for the same request to be answered with again."""
        plain = response.SerializeToString(deterministic=True)
        await _ANSWER.run(tx, **self._key, response=self._encrypt(tx, "response", plain))

    async def release(self, tx: Connection) -> None:
        """Free the request id, which this transaction took, for the request to be made again."""
        await _RELEASE.run(tx, **self._key)

    # Answers repeat what is stored elsewhere, personal data among it, and a short request could be
    # found from its hash by trying all that it may be: both are encrypted.

    def _encrypt(self, tx: Connection, column: str, plain: bytes) -> bytes:
        return encryption.keyring(tx.engine).encrypt(plain, *aad(column, **self._key))

    def _open(self, tx: Connection, column: str, encrypted: bytes) -> bytes:
        return encryption.keyring(tx.engine).decrypt(encrypted, *aad(column, **self._key))


def aad(column: str, tenant: str, request_id: uuid.UUID) -> tuple[str, ...]:
    """What an encrypted column of a request is bound to."""
    return "requests", column, tenant, str(request_id)


async def forget_answers(tx: Connection, tenant: str, resources: Iterable[str]) -> None:
    """Forget what was answered to the mutations of resources, whose requests stay known."""
    await _FORGET.run(tx, tenant=tenant, resources=list(resources))


def _aad_of(column: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda row: aad(column, row.tenant, row.request_id)


ENCRYPTED_TABLES = EncryptedTable(
    "requests",
    {"tenant": "text", "request_id": "uuid"},
    [EncryptedColumn(name, _aad_of(name)) for name in ("content_hash", "response")],
)


def derived_id(*parts: str) -> uuid.UUID:
    """An id for what a request makes when the caller named none: the same for the same request."""
    return uuid.uuid5(uuid.NAMESPACE_OID, "|".join(parts))
