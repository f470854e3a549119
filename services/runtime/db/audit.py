"""The audit: what callers changed, when, from where, before and after. Entries are never altered."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from recurring.audit.v1 import audit_pb2

from services.runtime.auth.call_context import caller, origin
from services.runtime.db.pool import Connection, Database, to_json
from services.runtime.db.statements import Command, Query
from services.runtime.errors import Violations
from services.runtime.resource_names import require_within
from services.runtime.rpc.conversions import to_timestamp
from services.runtime.rpc.paging import AFTER_ALL, read_page

# The end of a personal text that is stored: enough to distinguish two.
SHOWN_CHARACTERS = 2
MASK = "•••"


class _EntryRow(NamedTuple):
    position: uuid.UUID
    create_time: datetime
    subject: str
    origin: str
    method: str
    request_id: uuid.UUID | None
    resource: str
    state_before: dict[str, Any] | None
    state_after: dict[str, Any]


_PUT = Command("""
    INSERT INTO audit_entries
        (tenant, subject, origin, method, request_id, resource, state_before, state_after)
    SELECT tenant, CAST(:subject AS text), CAST(:origin AS text), CAST(:method AS text),
           CAST(:request_id AS uuid), resource, CAST(state_before AS jsonb), CAST(state_after AS jsonb)
    FROM unnest(CAST(:tenants AS text[]), CAST(:resources AS text[]), CAST(:before AS text[]),
                CAST(:after AS text[]))
      AS change (tenant, resource, state_before, state_after)
""")

_LIST = Query(
    """
    SELECT position, create_time, subject, origin, method, request_id, resource, state_before,
           state_after
    FROM audit_entries
    WHERE tenant = :tenant AND position < :before
      AND (:resource = '' OR resource = :resource) AND (:subject = '' OR subject = :subject)
    ORDER BY position DESC LIMIT :limit
    """,
    _EntryRow,
)


class Change(NamedTuple):
    """The change of a resource by a call."""

    tenant: str
    resource: str
    # As plain data, without personal data.
    after: Mapping[str, Any]
    # None: there was none, or it was not read.
    before: Mapping[str, Any] | None = None


async def put_change(
    tx: Connection,
    request: Message,
    request_id: uuid.UUID | None,
    after: Message,
    *,
    before: Message | None,
    resource: str = "",
) -> None:
    """Store an entry about a changed resource, in the transaction of the call. None before: it is new.

    The name of the resource is that in the messages unless it is given.
    """
    change = Change(
        caller().tenant,
        resource or _resource(after) or _resource(request),
        masked(after),
        None if before is None else masked(before),
    )
    await put_all(tx, request, [change], request_id)


async def put_all(
    tx: Connection,
    request: Message,
    changes: Sequence[Change],
    request_id: uuid.UUID | None = None,
) -> None:
    """Store an entry for each changed resource, in one statement."""
    if not changes:
        return
    await _PUT.run(
        tx,
        subject=caller().subject,
        origin=origin(),
        method=request.DESCRIPTOR.name.removesuffix("Request"),
        request_id=request_id,
        tenants=[change.tenant for change in changes],
        resources=[change.resource for change in changes],
        before=[None if change.before is None else to_json(change.before) for change in changes],
        after=[to_json(change.after) for change in changes],
    )


def _resource(message: Any) -> str:  # noqa: ANN401 - any message
    """The resource name in a message: its first field that holds one."""
    for field, value in message.ListFields():
        if isinstance(value, str) and field.name != "parent" and value.startswith("merchants/"):
            return value
    return ""


def masked(message: Message) -> dict[str, Any]:
    """A message as plain data, with the fields masked that its contract marks as personal."""
    plain: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            plain[field.name] = _mask(value)
        elif field.type == field.TYPE_MESSAGE and _is_ours(field.message_type):
            many = isinstance(plain[field.name], list)
            plain[field.name] = [masked(element) for element in value] if many else masked(value)
    return plain


def _is_ours(message_type: Any) -> bool:  # noqa: ANN401 - a descriptor
    """Whether a message may have personal fields; maps and the well-known types have none."""
    return not (message_type.GetOptions().map_entry or message_type.full_name.startswith("google."))


def _mask(value: object) -> str:
    if isinstance(value, str) and len(value) > 2 * SHOWN_CHARACTERS:
        return MASK + value[-SHOWN_CHARACTERS:]
    return MASK


async def answer(
    database: Database, request: audit_pb2.ListAuditEntriesRequest
) -> audit_pb2.ListAuditEntriesResponse:
    """ListAuditEntries of every service, the newest entry first."""
    tenant = request.parent.removeprefix("merchants/")
    caller().check(tenant)
    violations = Violations()
    require_within(violations, "resource", request.resource, tenant)
    violations.check()
    page = read_page(request, keys=1)
    first = page.after_position(AFTER_ALL)

    async def find(last: _EntryRow | None, limit: int) -> Sequence[_EntryRow]:
        async with database.read() as connection:
            return await _LIST.all(
                connection,
                tenant=tenant,
                before=first if last is None else last.position,
                resource=request.resource,
                subject=request.subject,
                limit=limit,
            )

    def message(row: _EntryRow) -> audit_pb2.AuditEntry:
        entry = audit_pb2.AuditEntry(
            name=f"{request.parent}/auditEntries/{row.position}",
            create_time=to_timestamp(row.create_time),
            subject=row.subject,
            origin=row.origin,
            method=row.method,
            request_id=str(row.request_id or ""),
            resource=row.resource,
        )
        ParseDict(row.state_after, entry.after)
        if row.state_before is not None:
            ParseDict(row.state_before, entry.before)
        return entry

    entries, token = await page.fill(find, message, lambda row: (str(row.position),))
    return audit_pb2.ListAuditEntriesResponse(audit_entries=entries, next_page_token=token)
