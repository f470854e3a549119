"""Errors as callers see them: a google.rpc.Status with a reason and, where one is at fault, fields.

Source: AIP-193 and google/rpc/error_details.proto.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

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
    """Why a call was not done; nothing was stored.

    `reason` is UPPER_SNAKE_CASE and documented on the RPC.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    # When the same may work; 0 where it is not for time to tell.
    retry_seconds: float = 0.0

    def __str__(self) -> str:
        """The message, as it goes to the caller."""
        return self.message

    def status(self, domain: str) -> status_pb2.Status:
        """This problem on the wire; of very many violations, the first."""
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


def _bad_request(violations: Sequence[FieldViolation]) -> error_details_pb2.BadRequest:
    told = error_details_pb2.BadRequest()
    for each in violations:
        told.field_violations.add(
            field=_cut(each.field, VIOLATIONS_MAX_BYTES // 4),
            reason=each.reason,
            description=_cut(each.description, VIOLATIONS_MAX_BYTES // 4),
        )
        if told.ByteSize() > VIOLATIONS_MAX_BYTES:
            del told.field_violations[-1]
            break
    return told


def _cut(text: str, most_bytes: int) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return text
    return encoded[: most_bytes - len(_ELLIPSIS)].decode(errors="ignore") + _ELLIPSIS.decode()


def not_found(reason: str, name: str) -> Problem:
    """No such resource, as far as this caller can see."""
    return Problem(grpc.StatusCode.NOT_FOUND, reason, f"{name} does not exist")


def already_exists(reason: str, name: str, **metadata: str) -> Problem:
    """The id is taken; the metadata say by what."""
    return Problem(
        grpc.StatusCode.ALREADY_EXISTS, reason, f"{name} exists already", metadata=metadata
    )


def wrong_state(reason: str, message: str, **metadata: str) -> Problem:
    """The resource is not in a state that allows this; the metadata say what stands in the way."""
    return Problem(grpc.StatusCode.FAILED_PRECONDITION, reason, message, metadata=metadata)


def etag_mismatch(name: str) -> Problem:
    """The caller decided on a version that is not the present one (AIP-154)."""
    return Problem(
        grpc.StatusCode.ABORTED,
        "ETAG_MISMATCH",
        f"{name} has changed since it was read; read it again and decide anew",
        (FieldViolation("etag", "ETAG_MISMATCH", "is not the present etag"),),
    )


class Violations:
    """Collects everything that is wrong with a request, so that a caller mends it in one go."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    @property
    def found(self) -> tuple[FieldViolation, ...]:
        """What was noted, in the order of noting."""
        return tuple(self._found)

    def add(self, name: str, description: str, reason: str = FIELD_INVALID) -> None:
        """Note that a field broke a rule."""
        self._found.append(FieldViolation(name, reason, description))

    def require(self, name: str, description: str, *, met: bool) -> bool:
        """Note the rule as broken unless it is met; returns whether it is."""
        if not met:
            self.add(name, description)
        return met

    def require_range(self, name: str, value: int, least: int, most: int) -> None:
        """Note a number that is out of its range."""
        self.require(name, f"must be {least} to {most}", met=least <= value <= most)

    def require_length(self, name: str, value: str, least: int, most: int) -> None:
        """Note a text that is too short or too long, in characters, or that nobody can store."""
        self.require(
            name,
            f"must have {least} to {most} characters, none of them U+0000",
            met=least <= len(value) <= most and "\x00" not in value,
        )

    def check(self) -> None:
        """Raise INVALID_ARGUMENT if anything was noted.

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
    """The environment does not describe a process that can run; the message names every cause."""
