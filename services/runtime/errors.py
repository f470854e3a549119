"""The errors of a service.

    Problem                     ends a call; the caller gets it as a google.rpc.Status
        INVALID_ARGUMENT        a field breaks a rule: `Violations`
        NOT_FOUND               `not_found`
        ALREADY_EXISTS          `already_exists`
        FAILED_PRECONDITION     `wrong_state`
        ABORTED                 `etag_mismatch`
        RESOURCE_EXHAUSTED      a limit: `rpc.limits.exhausted`
        UNAUTHENTICATED, PERMISSION_DENIED      `auth.authenticator`, `auth.call_context`
        UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL    made of other errors by `rpc.admission`
    SettingsError               the process cannot start: `app.settings`
    SchemaMisfitError           the process waits for a migration: `db.schema`
    StreamMissingError, DurableMissingError     it waits for NATS to have them: `messaging.streams`
    CommandFailed               an operator's command ends with status 1: `app.commands`
    UnreadableError             encrypted data whose key is missing: `crypto.encryption`
    IllegalTransitionError      a defect in a state machine: `transitions`

Sources: AIP-193, google/rpc/error_details.proto.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

FIELD_INVALID = "FIELD_INVALID"
# A status travels in headers, of which clients take 8 KiB: the message twice, once with three bytes
# for each that is not ASCII, and the details with four bytes for three.
MESSAGE_MAX_BYTES = 1000
VIOLATIONS_MAX_BYTES = 2500
_ELLIPSIS = "…".encode()


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that broke one rule."""

    field: str
    reason: str
    description: str


@dataclass
class Problem(Exception):
    """Why a call failed; nothing was stored. `reason` is UPPER_SNAKE_CASE and documented on the RPC."""

    code: grpc.StatusCode
    reason: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    # When a retry may succeed; 0 if time makes no difference.
    retry_seconds: float = 0.0

    def __str__(self) -> str:
        """The message for the caller."""
        return self.message

    def status(self, domain: str) -> status_pb2.Status:
        """The status for the caller, with as many violations as fit."""
        message = _cut(self.message, MESSAGE_MAX_BYTES)
        details: list[Message] = [
            error_details_pb2.ErrorInfo(
                reason=self.reason, domain=domain, metadata=dict(self.metadata)
            )
        ]
        if self.violations:
            details.append(_bad_request(self.violations))
        if self.retry_seconds:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(round(self.retry_seconds * 1e9))
            details.append(retry)
        packed = [any_pb2.Any() for _ in details]
        for target, detail in zip(packed, details, strict=True):
            target.Pack(detail)
        return status_pb2.Status(code=self.code.value[0], message=message, details=packed)


def problem_of(error: grpc.aio.AioRpcError) -> Problem | None:
    """What another service answered, to be passed on to the caller; None: it gave no reason."""
    # The type stubs know synchronous calls only; what is read is the same for both.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if status is None:
        return None
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for packed in status.details:
        _ = packed.Unpack(info) or packed.Unpack(bad_request)
    if not info.reason:
        return None
    violations = tuple(
        FieldViolation(violation.field, violation.reason, violation.description)
        for violation in bad_request.field_violations
    )
    return Problem(error.code(), info.reason, status.message, violations, dict(info.metadata))


def _bad_request(violations: Sequence[FieldViolation]) -> error_details_pb2.BadRequest:
    detail = error_details_pb2.BadRequest()
    for violation in violations:
        detail.field_violations.add(
            field=_cut(violation.field, VIOLATIONS_MAX_BYTES // 4),
            reason=violation.reason,
            description=_cut(violation.description, VIOLATIONS_MAX_BYTES // 4),
        )
        if detail.ByteSize() > VIOLATIONS_MAX_BYTES:
            del detail.field_violations[-1]
            break
    return detail


def _cut(text: str, most_bytes: int) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return text
    return encoded[: most_bytes - len(_ELLIPSIS)].decode(errors="ignore") + _ELLIPSIS.decode()


def not_found(reason: str, name: str) -> Problem:
    """The resource does not exist."""
    return Problem(grpc.StatusCode.NOT_FOUND, reason, f"{name} does not exist")


def already_exists(reason: str, name: str, **metadata: str) -> Problem:
    """Another resource has the id; the metadata say which."""
    return Problem(
        grpc.StatusCode.ALREADY_EXISTS, reason, f"{name} exists already", metadata=metadata
    )


def wrong_state(reason: str, message: str, **metadata: str) -> Problem:
    """The state of the resource does not allow this; the metadata say what prevents it."""
    return Problem(grpc.StatusCode.FAILED_PRECONDITION, reason, message, metadata=metadata)


def etag_mismatch(name: str) -> Problem:
    """The caller's etag is not that of the present version (AIP-154)."""
    return Problem(
        grpc.StatusCode.ABORTED,
        "ETAG_MISMATCH",
        f"{name} has changed since it was read; read it again",
        (FieldViolation("etag", "ETAG_MISMATCH", "is not the present etag"),),
    )


class Violations:
    """Collects all violations of a request, so that a caller can correct them at once."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    @property
    def found(self) -> tuple[FieldViolation, ...]:
        """The violations, in the order in which they were added."""
        return tuple(self._found)

    def add(self, name: str, description: str, reason: str = FIELD_INVALID) -> None:
        """Add that a field breaks a rule."""
        self._found.append(FieldViolation(name, reason, description))

    def require(self, name: str, description: str, *, met: bool) -> bool:
        """Add a violation unless the rule is met; returns whether it is."""
        if not met:
            self.add(name, description)
        return met

    def require_range(self, name: str, value: int, least: int, most: int) -> None:
        """Add a violation if a number is out of its range."""
        self.require(name, f"must be {least} to {most}", met=least <= value <= most)

    def check(self) -> None:
        """Raise INVALID_ARGUMENT if there are violations.

        The reason is that of the violations if they share one, else FIELD_INVALID.
        """
        if not self._found:
            return
        reasons = {v.reason for v in self._found}
        raise Problem(
            grpc.StatusCode.INVALID_ARGUMENT,
            reasons.pop() if len(reasons) == 1 else FIELD_INVALID,
            "; ".join(f"{v.field}: {v.description}" for v in self._found),
            tuple(self._found),
        )


class SettingsError(Exception):
    """The settings do not describe a process that can run; the message names every invalid setting."""
