"""What the Python client reads from a refusal."""

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from recurring_client import refusal_of

VIOLATION = error_details_pb2.BadRequest.FieldViolation(
    field="schedule.time_zone", description="must be an IANA time zone", reason="TIME_ZONE_UNKNOWN"
)
DETAILS = (
    error_details_pb2.ErrorInfo(reason="FIELD_INVALID", metadata={"field": "schedule"}),
    error_details_pb2.BadRequest(field_violations=[VIOLATION]),
    error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=500_000_000)),
)


def error(*details: any_pb2.Any) -> grpc.aio.AioRpcError:
    refusal = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="bad", details=details)
    status = rpc_status.to_status(refusal)
    trailing = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, status.details)


def test_a_refusal_is_all_that_its_details_say() -> None:
    packed = [any_pb2.Any() for _ in DETAILS]
    for packed_detail, detail in zip(packed, DETAILS, strict=True):
        packed_detail.Pack(detail)
    refusal = refusal_of(error(*packed))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refusal.fields == {"schedule.time_zone": "must be an IANA time zone"}
    assert refusal.field_reasons == {"schedule.time_zone": "TIME_ZONE_UNKNOWN"}
    assert (refusal.retry_seconds, refusal.metadata) == (0.5, {"field": "schedule"})


def test_a_refusal_of_the_transport_has_no_reason() -> None:
    refusal = refusal_of(error())
    assert (refusal.reason, refusal.fields, refusal.retry_seconds) == ("", {}, 0.0)
