"""Why a call was refused, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Refusal:
    """A refusal; the reasons of each method are in its reference."""

    code: grpc.StatusCode
    # For programs, for example MANDATE_NOT_COVERING; empty if the transport refused.
    reason: str
    # For people.
    message: str
    # The path of a field -> the rule that it broke, for people.
    fields: Mapping[str, str] = field(default_factory=dict)
    # The path of a field -> why, for programs, for example TIME_ZONE_UNKNOWN.
    field_reasons: Mapping[str, str] = field(default_factory=dict)
    # When the same may work; 0 where time alone does not help.
    retry_seconds: float = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What an error of a call says."""
    # The type stubs know synchronous calls only; what is read is the same for both.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details if status is not None else ():
        for known in (info, bad_request, retry):
            detail.Unpack(known)
    violations = bad_request.field_violations
    return Refusal(
        error.code(),
        info.reason,
        error.details() or "",
        {violation.field: violation.description for violation in violations},
        {violation.field: violation.reason for violation in violations},
        retry.retry_delay.ToTimedelta().total_seconds(),
        dict(info.metadata),
    )
