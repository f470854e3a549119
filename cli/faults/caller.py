"""Calls as a careful platform makes them: repeated under the same request id until answered."""

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from recurring.notify.v1 import notify_pb2

from cli.errors import reason_of

# As long may a service be away, with all that a slow machine takes to start it again.
PATIENCE_SECONDS = 120.0
# As long may a service that lost its last seconds take to receive again what others had published.
CATCH_UP_SECONDS = 20.0
PAUSE_SECONDS = 0.1
CALL_TIMEOUT_SECONDS = 15.0
_REPEATED = frozenset({
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
})  # fmt: skip
# What a service never answers to a request that is well-formed, whatever state things are in.
_NEVER = frozenset({
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
})  # fmt: skip
_NAMESPACE = uuid.UUID("5b8b8c1e-3d43-4a77-9a55-2f0c8c6ff6f1")


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be, and the clause that it breaks."""

    clause: str
    text: str


@dataclass(slots=True)
class _Change:
    """A request that changes something."""

    method: Any
    request: Message
    # When it was answered (time.monotonic): what was answered before a backup is in it.
    answer_time: float = math.inf
    # Whether it was ever answered with success.
    succeeded: bool = False


@dataclass(slots=True)
class Caller:
    """Sends requests, and keeps what was answered that must never be answered."""

    tag: str
    answered_count: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    # Codes that were confirmed, and are not any more since a service has lost them.
    lost_codes_count: int = 0
    # Is called with every answer, those to repeated requests among them.
    on_answer: Callable[[Message], None] | None = None
    _sent_count: int = 0
    _changes: list[_Change] = field(default_factory=list)

    async def call(self, method: Any, request: Message, *, twice: bool = False) -> Any | None:  # noqa: ANN401 - any stub, any answer
        """The answer, or None if it was refused. Raises TimeoutError if nobody answers at all."""
        self._sent_count += 1
        change = _Change(method, request)
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request_id = uuid.uuid5(_NAMESPACE, f"{self.tag}|{self._sent_count}")
            setattr(request, "request_id", str(request_id))  # noqa: B010 - of a field just looked up
            self._changes.append(change)
        answers = await asyncio.gather(
            *(self._until_answered(method, request) for _ in range(2 if twice else 1))
        )
        given = [answer for answer in answers if isinstance(answer, Message)]
        change.succeeded, change.answer_time = bool(given), time.monotonic()
        if any(answer != given[0] for answer in given):
            self._violate(request, "the same request was answered in two ways")
        return given[0] if given else None

    async def repeat(self, service: str, since: float) -> None:
        """Send a service again what it answered since (time.monotonic), or not yet, in the same order.

        Whatever the answer: what has happened since may forbid it. A code is void if it was lost. What
        a request is about, and others published, may have to be received again first.
        """
        for change in list(self._changes):
            request = change.request
            if (
                change.answer_time >= since
                and request.DESCRIPTOR.full_name.split(".")[1] == service
            ):
                catch_up_seconds = CATCH_UP_SECONDS if change.succeeded else 0.0
                answer = await self._until_answered(change.method, request, catch_up_seconds)
                is_code = isinstance(request, notify_pb2.ConfirmPhoneBindingRequest)
                self.lost_codes_count += is_code and answer is None

    async def _until_answered(
        self,
        method: Any,  # noqa: ANN401 - any stub
        request: Message,
        catch_up_seconds: float = 0.0,
    ) -> Message | None:
        """The answer, or None if it was refused; for so long, what is not found may come."""
        started = time.monotonic()
        while True:
            try:
                answer: Message = await method(request, timeout=CALL_TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                waited_seconds = time.monotonic() - started
                may_come = (
                    error.code() is grpc.StatusCode.NOT_FOUND and waited_seconds < catch_up_seconds
                )
                if error.code() not in _REPEATED and not may_come:
                    self._refused(request, error)
                    return None
                if waited_seconds > PATIENCE_SECONDS:
                    name = request.DESCRIPTOR.name
                    raise TimeoutError(f"{name}: {error.code().name} for too long") from error
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self.answered_count += 1
                if self.on_answer is not None:
                    self.on_answer(answer)
                return answer

    def _refused(self, request: Message, error: grpc.aio.AioRpcError) -> None:
        reason = reason_of(error)
        if error.code() in _NEVER:
            self._violate(request, f"{error.code().name} {error.details()}")
        self.refusals[f"{request.DESCRIPTOR.name} {error.code().name} {reason}"] += 1

    def _violate(self, request: Message, text: str) -> None:
        self.violations.append(Violation("answers", f"{request.DESCRIPTOR.name}: {text}"))
