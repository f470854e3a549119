"""A comparison of a day with the provider's list always says whether the list was read to its end."""

import json

import pytest
from google.type import money_pb2
from recurring.payments.v1 import payments_pb2 as pb

from cli.books import show_comparison
from cli.output import Output

REMARK = "4 agree; the provider's list of the day is not read to its end"
MISSING = pb.ReconciliationFinding(
    kind=pb.ReconciliationFinding.MISSING_AT_PROVIDER,
    source="merchants/acme/customers/ann/charges/tea-1",
    booked_amount=money_pb2.Money(currency_code="EUR", units=5),
)


@pytest.mark.parametrize(
    ("findings", "shown"), [([], "nothing differs"), ([MISSING], "MISSING_AT_PROVIDER")]
)
def test_people_read_that_the_list_is_incomplete_whatever_was_found(
    findings: list[pb.ReconciliationFinding], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = pb.PreviewReconciliationResponse(matched_count=4, findings=findings)
    show_comparison(Output(as_json=False), compared)
    printed = capsys.readouterr().out
    assert shown in printed
    assert REMARK in printed


def test_people_read_nothing_of_a_list_that_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    compared = pb.PreviewReconciliationResponse(complete=True, matched_count=4)
    show_comparison(Output(as_json=False), compared)
    assert capsys.readouterr().out.splitlines() == ["nothing differs", "4 agree"]


@pytest.mark.parametrize("complete", [False, True])
def test_programs_read_whether_the_list_is_complete(
    *, complete: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = pb.PreviewReconciliationResponse(complete=complete, findings=[MISSING])
    show_comparison(Output(as_json=True), compared)
    data = json.loads(capsys.readouterr().out)
    assert (data["complete"], data["matchedCount"]) == (complete, 0)
    assert [finding["kind"] for finding in data["findings"]] == ["MISSING_AT_PROVIDER"]
