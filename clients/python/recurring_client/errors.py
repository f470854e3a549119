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
    # The path of a field -> the rule that it broke.
    fields: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What an error of a call says."""
    # The type stubs know synchronous calls only; what is read is the same for both.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status is not None else ():
        detail.Unpack(info) or detail.Unpack(bad_request)
    return Refusal(
        error.code(),
        info.reason,
        error.details() or "",
        {each.field: each.description for each in bad_request.field_violations},
        dict(info.metadata),
    )
