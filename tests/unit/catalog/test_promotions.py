"""Who redeems a promotion: first come first served, once each, and never more than may."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain.prices import Price
from services.catalog.domain.pricing import Facts, price_line, promotion
from services.catalog.domain.products import (
    Item,
    MerchantId,
    PriceId,
    ProductId,
    ProductKey,
    StandingOrderId,
    StandingOrderKey,
)
from services.catalog.domain.promotions import (
    Discount,
    Promotion,
    PromotionFault,
    PromotionId,
    SignUp,
    redeem,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACME = MerchantId("acme")
TEA = ProductId("tea")


def discount(percent_off_bps: int = 1000, amount_off_minor: int = 0) -> Discount:
    return Discount(PromotionId("p"), "Spring", percent_off_bps, amount_off_minor, 0, None, ())


def promotion_of(limit: int, count: int = 0, code: str = "SPRING") -> Promotion:
    return Promotion(ACME, discount(), "", code, limit, None, NOW, count)


def sign_up(number: int, code: str = "SPRING") -> SignUp:
    key = StandingOrderKey(ACME, StandingOrderId(f"so-{number}"))
    return SignUp(key, code, [TEA], "EUR", 1, NOW)


numbers = st.lists(st.integers(0, 30), unique=True, max_size=20)


@given(numbers, numbers, st.integers(0, 12), st.integers(0, 12))
def test_no_more_redeem_than_may_and_each_once(
    trying: list[int], redeemed: list[int], limit: int, count: int
) -> None:
    known = {sign_up(number).key for number in redeemed}
    sign_ups = [sign_up(number) for number in trying]
    redemptions, faults = redeem(sign_ups, [promotion_of(limit, min(count, limit or count))], known)
    new = {StandingOrderKey(r.merchant, StandingOrderId(r.standing_order)) for r in redemptions}
    assert len(new) == len(redemptions)
    assert not new & known
    assert new | set(faults) == {s.key for s in sign_ups} - known
    if limit:
        assert min(count, limit) + len(redemptions) <= limit
        left = limit - min(count, limit)
        assert len(redemptions) == min(left, len(new | set(faults)))
    assert set(faults.values()) <= {PromotionFault.PROMOTION_USED_UP}


def test_an_unknown_code_is_a_fault_and_none_is_not() -> None:
    coded, plain = sign_up(1, "GONE"), sign_up(2, "")
    redemptions, faults = redeem([coded, plain], [promotion_of(0)], ())
    assert (redemptions, faults) == ([], {coded.key: PromotionFault.PROMOTION_NOT_FOUND})


@given(st.integers(1, 10**9), st.integers(1, 100), st.integers(0, 9999), st.integers(0, 10**11))
def test_something_is_left_to_pay_and_the_line_adds_up(
    unit_minor: int, quantity: int, percent_off_bps: int, amount_off_minor: int
) -> None:
    price = Price(ACME, TEA, PriceId("p1"), unit_minor, "EUR", NOW, NOW)
    off = discount(percent_off_bps, amount_off_minor)
    facts = Facts(quantity, [price], NOW - NOW, None, None, 1, NOW, off, amount_off_minor)
    line = price_line(Item(ProductKey(ACME, TEA), quantity), "Tea", facts)
    assert 1 <= line.amount_minor <= line.list_amount_minor
    taken = sum(step.amount_minor for step in line.adjustments)
    assert line.list_amount_minor + taken == line.amount_minor
    step = promotion(facts, line.list_amount_minor)
    assert (step.amount_minor if step else 0) == taken
