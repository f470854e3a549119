"""Idempotent mutations: a request id is applied once, and gets the same answer again (AIP-155)."""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message

from services.runtime.auth.call_context import caller
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


# The answers are deleted; the repetition of such a request is answered with an empty message.
_FORGET = Command("""
    UPDATE requests SET response = ''
    WHERE tenant = :tenant AND response <> '' AND request_id IN (
        SELECT request_id FROM audit_entries
        WHERE tenant = :tenant AND resource = ANY(CAST(:resources AS text[])))
""")


class Mutation:
    """A request that changes something, identified by its tenant and request id."""

    def __init__(self, request: Message, request_id: str) -> None:
        violations = Violations()
        identity = read_uuid(violations, "request_id", request_id)
        violations.check()
        self.method = request.DESCRIPTOR.full_name
        self.request_id = identity
        self._request = request
        self._key: dict[str, Any] = {"tenant": caller().tenant, "request_id": identity}
        self._hash = _content_hash(request)

    async def answered(self, database: Database, response_type: type[Res]) -> Res | None:
        """As `replay`, before the transaction of the mutation."""
        async with database.read() as connection:
            return await self.replay(connection, response_type)

    async def replay(self, connection: Connection, response_type: type[Res]) -> Res | None:
        """The earlier answer to this request; None if it is new.

        Raises INVALID_ARGUMENT REQUEST_ID_REUSED if the id came with other content.
        """
        row = await _FIND.one_or_none(connection, **self._key)
        if row is None:
            return None
        known_hash = self._decrypt(connection, "content_hash", row.content_hash)
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
        return response_type.FromString(self._decrypt(connection, "response", row.response))

    async def take(self, tx: Connection, response_type: type[Res]) -> Res | None:
        """Take the request id in this transaction; if it is taken, return the earlier answer."""
        content_hash = self._encrypt(tx, "content_hash", self._hash)
        if await _TAKE.run(tx, **self._key, method=self.method, content_hash=content_hash):
            return None
        # The insert has waited for the transaction that took the id.
        answer = await self.replay(tx, response_type)
        if answer is None:
            raise RuntimeError("a request id that is taken has no row")
        return answer

    async def remember(self, tx: Connection, response: Message) -> None:
        """Store the answer for a repetition of the request."""
        plain = response.SerializeToString(deterministic=True)
        await _ANSWER.run(tx, **self._key, response=self._encrypt(tx, "response", plain))

    async def release(self, tx: Connection) -> None:
        """Release the request id, so that the request can be made again."""
        await _RELEASE.run(tx, **self._key)

    # An answer can contain personal data, and a short request could be guessed from its hash: both are
    # encrypted.

    def _encrypt(self, tx: Connection, column: str, plain: bytes) -> bytes:
        return tx.keyring.encrypt(plain, *aad(column, **self._key))

    def _decrypt(self, tx: Connection, column: str, encrypted: bytes) -> bytes:
        return tx.keyring.decrypt(encrypted, *aad(column, **self._key))


def _content_hash(request: Message) -> bytes:
    """The hash of a request; of another customer, the same request has another.

    Otherwise a customer who knew another's request and its id would be given the answer.
    """
    content = hashlib.sha256(request.SerializeToString(deterministic=True))
    if customer := caller().customer:
        return hashlib.sha256(content.digest() + customer.encode()).digest()
    return content.digest()


def aad(column: str, tenant: str, request_id: uuid.UUID) -> tuple[str, ...]:
    """The additional data of an encrypted column of a request."""
    return "requests", column, tenant, str(request_id)


async def forget_answers(tx: Connection, tenant: str, resources: Iterable[str]) -> None:
    """Delete the answers to the mutations of resources; the request ids stay taken."""
    await _FORGET.run(tx, tenant=tenant, resources=list(resources))


def _aad_of(column: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda row: aad(column, row.tenant, row.request_id)


ENCRYPTED_TABLES = EncryptedTable(
    "requests",
    {"tenant": "text", "request_id": "uuid"},
    [EncryptedColumn(name, _aad_of(name)) for name in ("content_hash", "response")],
)


def derived_id(*parts: str) -> uuid.UUID:
    """An id for a resource that the caller gave none, the same for the same request."""
    return uuid.uuid5(uuid.NAMESPACE_OID, "|".join(parts))
