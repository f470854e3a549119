"""What went wrong, in words: a reason, a message, and every field that broke a rule."""

from collections.abc import Iterator

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class CommandError(Exception):
    """An expected failure, worded for people; it ends the command with status 1."""


def describe_rpc_error(error: grpc.aio.AioRpcError) -> str:
    """A failed call in words: reason and message, then each field violation, one a line."""
    return "\n".join(_lines(error))


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The machine-readable reason of a failed call; empty when it came from the transport."""
    for detail in _details(error):
        if isinstance(detail, error_details_pb2.ErrorInfo):
            return str(detail.reason)
    return ""


def _lines(error: grpc.aio.AioRpcError) -> Iterator[str]:
    reason = reason_of(error) or error.code().name
    message = error.details() or "no message"
    violations = [
        violation
        for detail in _details(error)
        if isinstance(detail, error_details_pb2.BadRequest)
        for violation in detail.field_violations
    ]
    # Where the message only strings the violations together, they are not said twice.
    if violations and all(violation.description in message for violation in violations):
        yield f"{reason}:"
    else:
        yield f"{reason}: {message}"
    for violation in violations:
        own_reason = f" [{violation.reason}]" if violation.reason not in {"", reason} else ""
        yield f"  {violation.field}: {violation.description}{own_reason}"


def _details(error: grpc.aio.AioRpcError) -> Iterator[object]:
    # The type stubs know synchronous calls only; what is read is the same for both.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for packed in status.details if status is not None else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            detail = kind()
            if packed.Unpack(detail):
                yield detail
