"""The status of an error: a reason, and every field that breaks a rule."""

import base64
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2

from services.runtime.errors import FIELD_INVALID, Problem, Violations, etag_mismatch

# What a client of gRPC takes; beyond it the answer is lost.
CLIENT_HEADERS_MAX_BYTES = 8192


def raised(violations: Violations) -> Problem:
    with pytest.raises(Problem) as refusal:
        violations.check()
    return refusal.value


def test_nothing_wrong_raises_nothing() -> None:
    violations = Violations()
    violations.require_range("quantity", 1, 1, 10)
    violations.require("title", "must not be empty", met=True)
    violations.check()


def test_all_violations_are_reported_at_once() -> None:
    violations = Violations()
    violations.require_range("quantity", 0, 1, 10)
    violations.require("title", "must not be empty", met=False)
    problem = raised(violations)
    assert problem.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in problem.violations] == ["quantity", "title"]
    assert problem.message == "quantity: must be 1 to 10; title: must not be empty"


def test_violations_of_one_kind_give_the_call_their_reason() -> None:
    violations = Violations()
    violations.add("items[0].product", "does not exist", "PRODUCT_NOT_FOUND")
    violations.add("items[1].product", "does not exist", "PRODUCT_NOT_FOUND")
    assert raised(violations).reason == "PRODUCT_NOT_FOUND"


def test_violations_of_several_kinds_are_an_invalid_request() -> None:
    violations = Violations()
    violations.add("items[0].product", "does not exist", "PRODUCT_NOT_FOUND")
    violations.add("title", "is too long")
    assert raised(violations).reason == FIELD_INVALID


def test_a_status_carries_reason_domain_metadata_and_fields() -> None:
    problem = etag_mismatch("merchants/acme/products/coffee")
    status = problem.status("catalog.recurring")
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.code == grpc.StatusCode.ABORTED.value[0]
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad_request)
    assert (info.reason, info.domain) == ("ETAG_MISMATCH", "catalog.recurring")
    assert [violation.field for violation in bad_request.field_violations] == ["etag"]


def test_a_status_without_violations_has_no_bad_request() -> None:
    problem = Problem(grpc.StatusCode.NOT_FOUND, "GONE", "gone", metadata={"name": "x"})
    [detail] = problem.status("catalog.recurring").details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert info.metadata == {"name": "x"}


@pytest.mark.parametrize("text", ["x", "é", "\U0001f375"])
def test_however_much_is_wrong_a_status_fits_into_the_headers_of_a_client(text: str) -> None:
    violations = Violations()
    for number in range(1000):
        violations.add(f"{text * 500}[{number}]", text * 5000)
    with pytest.raises(Problem) as refusal:
        violations.check()
    status = refusal.value.status("catalog.recurring")
    headers = quote(status.message) + base64.b64encode(status.SerializeToString()).decode()
    assert len(headers) < CLIENT_HEADERS_MAX_BYTES
    [_, details] = status.details
    bad_request = error_details_pb2.BadRequest()
    details.Unpack(bad_request)
    assert bad_request.field_violations
