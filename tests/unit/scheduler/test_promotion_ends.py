"""The first order that a promotion takes nothing off, and when its customer is notified of it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.money import Money
from services.scheduler.domain.promotion_ends import PromotionEnd, first_cycle_after
from services.scheduler.domain.promotions import PROMOTION_NOTICE_DAYS, EndingPromotion
from services.scheduler.domain.rescheduling import LastOrder, rescheduled
from services.scheduler.domain.standing_order import StandingOrder, advanced
from services.scheduler.store import ending_promotions
from tests.unit.scheduler.test_standing_order import SIGN_UP, new_standing_order

SPRING = "merchants/acme/promotions/spring"


def promoted(
    last_cycle: int = 0, until_days: int = 0, notice_days: int = 0, next_cycle: int = 1
) -> StandingOrder:
    until_time = SIGN_UP + timedelta(days=until_days) if until_days else None
    promotion = EndingPromotion(SPRING, "Spring", last_cycle, until_time, notice_days)
    signed_up = new_standing_order()
    opened, following = signed_up.date(next_cycle - 1), signed_up.date(next_cycle)
    return replace(advanced(signed_up, next_cycle, following, opened), ending_promotion=promotion)


@given(last_cycle=st.integers(0, 12), until_days=st.integers(0, 400), next_cycle=st.integers(1, 12))
def test_the_order_before_the_first_one_without_it_had_the_promotion(
    last_cycle: int, until_days: int, next_cycle: int
) -> None:
    standing_order = promoted(last_cycle, until_days, next_cycle=next_cycle)
    promotion, cycle = standing_order.ending_promotion, first_cycle_after(standing_order)
    assert promotion is not None
    if cycle is None:
        return
    first, before = standing_order.date(cycle), standing_order.date(cycle - 1)
    assert cycle >= next_cycle
    assert first is not None
    assert before is not None
    assert promotion.is_over(cycle, first.due_at)
    assert not promotion.is_over(cycle - 1, before.due_at)


def test_an_order_without_it_that_was_announced_is_no_news() -> None:
    assert first_cycle_after(promoted(last_cycle=2, next_cycle=3)) == 3
    assert first_cycle_after(promoted(last_cycle=2, next_cycle=4)) is None


@pytest.mark.parametrize(("last_cycle", "until_days"), [(1, 0), (0, 20), (1, 20)])
def test_a_new_schedule_after_the_last_order_with_it_hides_no_end(
    last_cycle: int, until_days: int
) -> None:
    """The first date of the new one may be that of the first order without it."""
    standing_order = promoted(last_cycle, until_days, next_cycle=2)
    first = standing_order.date(1)
    assert first is not None
    now = first.due_at + timedelta(days=1)
    later = replace(standing_order.schedule, start_date=(now + timedelta(days=40)).date())
    changed = rescheduled(standing_order, later, LastOrder(1, first.nominal_date), now)
    assert changed.date(1) is None
    assert first_cycle_after(changed) == 2


def test_an_order_that_never_had_it_is_no_news_whenever_its_schedule_began() -> None:
    standing_order = promoted(until_days=1)
    assert first_cycle_after(replace(standing_order, base_cycle=-2)) is None


@pytest.mark.parametrize("notice_days", [0, 7, 30])
def test_rule_packs_make_the_notice_come_earlier_and_never_later(notice_days: int) -> None:
    standing_order = promoted(last_cycle=2, notice_days=notice_days)
    third = standing_order.date(3)
    assert third is not None
    lead = timedelta(days=max(notice_days, PROMOTION_NOTICE_DAYS))
    assert standing_order.promotion_notice_time == third.due_at - lead


@pytest.mark.parametrize(("amount_minor", "is_news"), [(1000, True), (500, False), (400, False)])
def test_an_amount_that_does_not_rise_is_no_news(amount_minor: int, *, is_news: bool) -> None:
    standing_order = promoted(last_cycle=2)
    assert standing_order.ending_promotion is not None
    amount, before = Money(amount_minor, "EUR"), Money(500, "EUR")
    end = PromotionEnd(standing_order, standing_order.ending_promotion, 3, SIGN_UP, amount, before)
    assert end.is_news == is_news


@given(last_cycle=st.integers(0, 9), until_days=st.integers(0, 9))
def test_a_promotion_is_stored_as_it_is(last_cycle: int, until_days: int) -> None:
    promotion = promoted(last_cycle, until_days).ending_promotion
    stored = ending_promotions.dump(promotion)
    assert stored is not None
    assert ending_promotions.load(json.loads(stored)) == promotion
