"""Each kind of rule is said in words of its own."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.rule_packs import asked
from cli.values import parse_money

CONTENT = pb.NoticeContent(elements=[pb.NoticeContent.AMOUNT, pb.NoticeContent.OPT_OUT])
WORDS: dict[str, tuple[int | Message, str]] = {
    "debit_notice_lead": (Duration(seconds=86_400), "a notice 1d before a charge"),
    "debit_notice_content": (CONTENT, "the notice before a charge says AMOUNT, OPT_OUT"),
    "confirmation_above": (
        parse_money("15000 INR"), "the customer confirms charges above 15,000.00 INR"
    ),
    "receipt_content": (CONTENT, "the receipt says AMOUNT, OPT_OUT"),
    "mandate_terms": (
        pb.MandateTerms(maximum=True, validity=True), "a mandate has a maximum and a last day"
    ),
    "mandate_lapse_months": (36, "a mandate lapses 36 months after its last charge"),
    "refund_right_days": (56, "a charge is given back within 56 days without a reason"),
    "retry_limit": (
        pb.RetryLimit(attempt_count=10, window_hours=24), "at most 10 attempts in 24 hours"
    ),
    "price_increase_notice": (
        pb.NoticePeriod(min_days=7, max_days=30),
        "notice of an increase at least 7 and at most 30 days before",
    ),
    "offer_end_notice": (
        pb.NoticePeriod(min_days=7), "notice of the end of an offer at least 7 days before"
    ),
    "reminder_months": (12, "a reminder every 12 months"),
}  # fmt: skip


def test_every_kind_is_tried() -> None:
    assert set(WORDS) == {field.name for field in pb.Rule.DESCRIPTOR.oneofs_by_name["kind"].fields}


@pytest.mark.parametrize("kind", WORDS)
def test_a_kind_of_rule_is_said_in_words(kind: str) -> None:
    value, words = WORDS[kind]
    rule = pb.Rule(**{kind: value})  # type: ignore[arg-type]
    assert asked(rule) == words
