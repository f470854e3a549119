"""The one template of every mutation.

1. Replay: a request id that was answered before is answered the same again, whatever happened since.
2. Decide: read the request, call other services; nothing is written, here or there.
3. One transaction: take the request id, apply, audit, outbox, remember the answer.

Sources: AIP-155 (request ids); the write template of formancehq/ledger.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo

from services.runtime.crash_points import CrashPoint
from services.runtime.db import audit
from services.runtime.db.idempotency import Mutation
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Problem
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent

_COMMITTED = CrashPoint("mutation.committed", "A call's change is committed and not answered.")

T = TypeVar("T")
Res = TypeVar("Res", bound=Message)


@dataclass(frozen=True, slots=True)
class Applied(Generic[T]):
    """The changed resource, and the events that report the change."""

    after: T
    # None: there was none before.
    before: T | None = None
    events: Sequence[OutboxEvent] = ()
    # The name of the resource for the audit, unless the response or the request has it.
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal that must leave a trace: what was done stays, and the request id is free again."""

    problem: Problem


# Applies a decision in its transaction; raises Problem to leave everything as it was.
Apply = Callable[[Connection], Awaitable[Applied[T] | Refused]]
# Reads and checks, and returns what is to be applied.
Decide = Callable[[], Awaitable[Apply[T]]]


async def run_mutation(
    database: Database,
    request: Any,  # noqa: ANN401 - any request with a request_id
    response_type: type[Res],
    respond: Callable[[T], Res],
    apply: Apply[T],
) -> Res:
    """Run a mutation that needs nothing from other services, once a request id.

    `respond` makes the answer, and what the audit keeps. Raises INVALID_ARGUMENT REQUEST_ID_REUSED if
    the id came with other content, and what `apply` raises.
    """

    async def decide() -> Apply[T]:
        return apply

    return await run_checked_mutation(database, request, response_type, respond, decide)


async def run_checked_mutation(
    database: Database,
    request: Any,  # noqa: ANN401 - any request with a request_id
    response_type: type[Res],
    respond: Callable[[T], Res],
    decide: Decide[T],
) -> Res:
    """As `run_mutation`, after `decide` has called other services, outside the transaction."""
    mutation = Mutation(request, request.request_id)
    if (answer := await mutation.answered(database, response_type)) is not None:
        return answer
    try:
        apply = await decide()
    except Problem:
        # What refused it may be what the same request, sent at the same time, has done since.
        if (answer := await mutation.answered(database, response_type)) is not None:
            return answer
        raise
    async with database.begin() as tx:
        if (answer := await mutation.take(tx, response_type)) is not None:
            return answer
        outcome = await _write(tx, mutation, request, respond, await apply(tx))
    _COMMITTED.reached()
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


async def _write(
    tx: Connection,
    mutation: Mutation,
    request: Any,  # noqa: ANN401 - any request with a request_id
    respond: Callable[[T], Res],
    applied: Applied[T] | Refused,
) -> Res | Problem:
    """Store the audit, the events and the answer; returns the answer."""
    if isinstance(applied, Refused):
        await mutation.release(tx)
        reason = ErrorInfo(reason=applied.problem.reason)
        await audit.put_change(tx, request, mutation.request_id, reason, before=None)
        return applied.problem
    response = respond(applied.after)
    before = None if applied.before is None else respond(applied.before)
    await audit.put_change(
        tx, request, mutation.request_id, response, before=before, resource=applied.resource
    )
    await outbox.put(tx, applied.events)
    await mutation.remember(tx, response)
    return response
