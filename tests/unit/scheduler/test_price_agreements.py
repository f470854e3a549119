"""Which protection applies to which cycle, however often it is changed."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.price_agreements import (
    AGREEMENTS_MAX,
    Agreed,
    PriceAgreement,
    accepted,
    agreement_of,
    with_agreement,
    with_ending_notified,
)
from services.scheduler.store import price_agreements

NOW = datetime(2027, 1, 1, tzinfo=UTC)
LOCK = {"lock": {"cycle_count": 3}}


def changed(first_cycles: list[int]) -> tuple[PriceAgreement, ...]:
    """What is left of agreements that were made one after the other, each from a cycle on."""
    agreements: tuple[PriceAgreement, ...] = ()
    for number, first_cycle in enumerate(first_cycles):
        agreement = PriceAgreement(first_cycle, NOW + timedelta(days=number), LOCK)
        agreements = with_agreement(agreements, agreement)
    return agreements


# The next cycle without an order never goes back.
rising = st.lists(st.integers(1, 9), min_size=1, max_size=9).map(sorted)


@given(rising)
def test_the_last_agreement_applies_from_its_first_cycle_on(first_cycles: list[int]) -> None:
    agreements = changed(first_cycles)
    newest = NOW + timedelta(days=len(first_cycles) - 1)
    for cycle in range(first_cycles[-1], 12):
        agreement = agreement_of(agreements, cycle)
        assert agreement is not None
        assert agreement.agree_time == newest


@given(rising)
def test_an_open_order_keeps_the_agreement_before(first_cycles: list[int]) -> None:
    agreements, last = changed(first_cycles), first_cycles[-1]
    before = [index for index, first in enumerate(first_cycles) if first < last]
    agreement = agreement_of(agreements, last - 1)
    expected = NOW + timedelta(days=before[-1]) if before else None
    assert (agreement and agreement.agree_time) == expected


@given(rising)
def test_few_agreements_are_kept_and_each_has_cycles_of_its_own(first_cycles: list[int]) -> None:
    firsts = [agreement.first_cycle for agreement in changed(first_cycles)]
    assert len(firsts) <= AGREEMENTS_MAX
    assert firsts == sorted(set(firsts))


def test_a_price_that_is_kept_already_stays_when_a_product_is_added() -> None:
    first = accepted(
        changed([1]), Agreed(3, None, survives_schedule_changes=True, prices={"tea": "p1"})
    )
    [later] = accepted(
        first, Agreed(3, None, survives_schedule_changes=True, prices={"tea": "p2", "mug": "p1"})
    )
    assert later.prices == {"tea": "p1", "mug": "p1"}


@given(first_cycles=rising, is_notified=st.booleans(), until_time=st.none() | st.just(NOW))
def test_agreements_are_stored_as_they_are(
    first_cycles: list[int], *, is_notified: bool, until_time: datetime | None
) -> None:
    agreements = accepted(
        changed(first_cycles),
        Agreed(0, until_time, survives_schedule_changes=False, prices={"tea": "p1"}),
    )
    if is_notified:
        agreements = with_ending_notified(agreements)
    stored = json.loads(price_agreements.dump(agreements))
    assert price_agreements.load(stored) == agreements
