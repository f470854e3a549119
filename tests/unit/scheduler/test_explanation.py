from datetime import UTC, datetime, timedelta

from services.scheduler.domain.explanation import in_causal_order
from services.scheduler.domain.order import REASON_WORDS, Decision, OrderReason, in_words

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def decided(what: str, time: datetime = NOW, **data: object) -> Decision:
    return Decision(time, what, "", data)


def kinds(*parts: list[Decision]) -> list[str]:
    history, attempts, notices = parts
    return [
        str(entry.data.get("kind") or entry.data.get("number") or entry.kind)
        for entry in in_causal_order(history, attempts, notices)
    ]


def test_at_one_time_causes_come_before_their_effects() -> None:
    history = [
        decided("ORDERED_NOW"), decided("PREPARED"), decided("NOTICE_DELIVERED", notice="n1"),
        decided("COLLECTED"), decided("PAID"),
    ]  # fmt: skip
    attempts = [decided("ATTEMPT", number=1)]
    notices = [decided("NOTICE", name="n1", kind="ORDER_UPCOMING"),
               decided("NOTICE", name="n2", kind="RECEIPT")]  # fmt: skip
    assert kinds(history, attempts, notices) == [
        "ORDERED_NOW", "PREPARED", "ORDER_UPCOMING", "NOTICE_DELIVERED", "COLLECTED", "1", "PAID",
        "RECEIPT",
    ]  # fmt: skip


def test_a_decline_comes_after_its_own_attempt_and_before_the_next() -> None:
    history = [decided("COLLECTED"), decided("PAYMENT_DECLINED", attempt=1), decided("PAID")]
    attempts = [decided("ATTEMPT", number=1), decided("ATTEMPT", number=2)]
    assert kinds(history, attempts, []) == ["COLLECTED", "1", "PAYMENT_DECLINED", "2", "PAID"]


def test_what_is_later_stays_later() -> None:
    history = [decided("COLLECTED"), decided("PAID", LATER)]
    assert kinds(history, [decided("ATTEMPT", LATER, number=1)], []) == ["COLLECTED", "1", "PAID"]


def test_a_request_to_pay_comes_between_the_collection_and_the_attempt() -> None:
    history = [decided("COLLECTED"), decided("PAID")]
    notices = [decided("NOTICE", name="n", kind="PAYMENT_REQUEST")]
    assert kinds(history, [decided("ATTEMPT", number=1)], notices) == [
        "COLLECTED", "PAYMENT_REQUEST", "1", "PAID",
    ]  # fmt: skip


def test_each_reason_has_words_and_all_are_said() -> None:
    assert set(REASON_WORDS) == set(OrderReason)
    words = in_words([OrderReason.OUT_OF_STOCK, OrderReason.PHONE_NOT_BOUND])
    assert words == "a product is out of stock; the customer's phone is not bound"
