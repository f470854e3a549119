"""What is sold of a period becomes revenue day by day, to the cent, whatever is given back of it."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.payments.domain.accounts import (
    DEFERRED_REVENUE,
    DISPUTES,
    PROVIDER_CLEARING,
    RECEIVABLE,
    REFUNDS,
    REVENUE,
)
from services.payments.domain.charges import Charge
from services.payments.domain.disputes import Dispute, DisputeState
from services.payments.domain.keys import DisputeId, MandateId, RefundId
from services.payments.domain.ledger import (
    book_charge,
    book_refund,
    book_reinstatement,
    book_withdrawal,
    given_back_by,
    net_minor_of,
    reverse,
)
from services.payments.domain.lines import ChargeLine, LineTax, dump_lines
from services.payments.domain.refunds import Refund
from services.payments.domain.revenue import Deferral, changed_by, defer, recognize
from services.payments.domain.transfers import Transfer
from services.payments.domain.transitions import RefundState
from tests.unit.payments.strategies import CHARGE

START = date(2026, 1, 31)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ALL = 1000


def charge_of(net_minor: int, tax_minor: int = 0, days: int = 30) -> Charge:
    line = ChargeLine("tea", 1, net_minor, (LineTax("de-vat", 190_000, tax_minor),))
    return CHARGE._replace(
        amount_minor=net_minor + tax_minor,
        lines=dump_lines((line,)),
        region_code="DE",
        period_start_date=START,
        period_end_date=START + (days - 1) * DAY,
    )


def deferred(charge: Charge, now: datetime = NOON) -> Deferral:
    deferral = defer(charge, net_minor_of(charge), now)
    assert deferral is not None
    return deferral


def refund_of(charge: Charge, number: int, amount_minor: int) -> Refund:
    return Refund(
        *charge.key,
        RefundId(f"r-{number}"),
        amount_minor=amount_minor,
        currency=charge.currency,
        note=b"",
        state=RefundState.SUCCEEDED,
        idempotency_key="",
        create_time=NOON,
        update_time=NOON,
    )


def dispute_of(charge: Charge, number: int, amount_minor: int) -> Dispute:
    return Dispute(
        *charge.key[:2],
        charge.charge,
        DisputeId(f"d-{number}"),
        provider="stripe",
        provider_dispute=f"dp_{number}",
        mandate=MandateId(""),
        amount_minor=amount_minor,
        currency=charge.currency,
        reason="fraudulent",
        state=DisputeState.NEEDS_RESPONSE,
        open_time=NOON,
        update_time=NOON,
        withdraw_time=NOON,
    )


def balances(transfers: Sequence[Transfer]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for it in transfers:
        assert it.amount_minor > 0
        sums[it.debit_account] += it.amount_minor
        sums[it.credit_account] -= it.amount_minor
    return sums


@given(st.integers(1, 100_000), st.integers(1, 400))
def test_no_day_is_ahead_of_its_share_and_the_last_one_takes_the_rest(
    net_minor: int, days: int
) -> None:
    deferral = deferred(charge_of(net_minor, days=days))
    end_date = deferral.end_date
    recognized_minor = 0
    while (day := deferral.next_date) is not None:
        assert START <= day <= end_date
        deferral, [transfer] = recognize(deferral, datetime(*day.timetuple()[:3], tzinfo=UTC), 1)
        assert (transfer.debit_account, transfer.credit_account) == (DEFERRED_REVENUE, REVENUE)
        recognized_minor += transfer.amount_minor
        share = net_minor * ((day - START).days + 1)
        assert share - days < recognized_minor * days <= share
    assert recognized_minor == net_minor
    assert deferral.through_date == end_date


def test_days_before_the_sale_are_booked_with_it_and_keep_their_dates() -> None:
    sale_time = NOON + 2 * DAY
    deferral, booked = recognize(deferred(charge_of(3000), sale_time), sale_time, ALL)
    assert [it.amount_minor for it in booked] == [100, 100, 100]
    assert [it.book_time for it in booked] == [sale_time] * 3
    assert [it.occur_time and it.occur_time.date() for it in booked] == [START, START + DAY, None]
    assert deferral.next_date == START + 3 * DAY


def test_a_day_is_recognized_once_however_often_it_is_asked_for() -> None:
    deferral, first = recognize(deferred(charge_of(3000)), NOON, ALL)
    again, second = recognize(deferral, NOON, ALL)
    assert (len(first), second, again) == (1, [], deferral)


def test_a_backlog_is_recognized_in_steps() -> None:
    deferral = deferred(charge_of(3000))
    later = NOON + 9 * DAY
    deferral, first = recognize(deferral, later, 4)
    deferral, second = recognize(deferral, later, ALL)
    assert [len(first), len(second)] == [4, 6]
    assert [it.book_time.date() for it in second] == [START + n * DAY for n in range(4, 10)]


def test_a_sale_without_a_period_is_not_deferred() -> None:
    charge = charge_of(1000)._replace(period_start_date=None, period_end_date=None)
    assert defer(charge, 1000, NOON) is None


def test_what_is_given_back_is_of_the_days_to_come_as_of_those_before() -> None:
    charge = charge_of(3000, 570)
    deferral, _ = recognize(deferred(charge), NOON + 9 * DAY, ALL)
    booked = list(book_refund(refund_of(charge, 1, 1785), charge, {}, NOON, deferral))
    given_back = given_back_by(booked)
    assert given_back == {DEFERRED_REVENUE: 1000, REFUNDS: 500, "tax-payable-de-vat": 285}
    half = changed_by(deferral, booked, NOON)
    _, [next_day] = recognize(half, NOON + 10 * DAY, ALL)
    assert next_day.amount_minor == 50
    # It comes back, and is spread over the days that are left.
    whole = changed_by(half, [reverse(it, NOON) for it in booked], NOON)
    assert (whole.deferred_minor, whole.recognized_minor) == (2000, 1000)


def test_a_dispute_stops_what_is_deferred_until_it_is_won() -> None:
    charge = charge_of(3000, 570)
    deferral, _ = recognize(deferred(charge), NOON + 9 * DAY, ALL)
    dispute = dispute_of(charge, 1, charge.amount_minor)
    taken = list(book_withdrawal(dispute, charge, {}, NOON, deferral))
    sums = balances(taken)
    assert (sums[DEFERRED_REVENUE], sums[DISPUTES]) == (2000, 1570)
    assert sums[PROVIDER_CLEARING] == -charge.amount_minor
    stopped = changed_by(deferral, taken, NOON)
    assert stopped.next_date is None

    won_time = NOON + 12 * DAY
    won = changed_by(stopped, book_reinstatement(taken, won_time), won_time)
    assert balances([*taken, *book_reinstatement(taken, won_time)]).total() == 0
    _, booked = recognize(won, won_time, ALL)
    # The days since are made up for, and keep their dates.
    assert [it.amount_minor for it in booked] == [100, 100, 100]
    assert {it.book_time for it in booked} == {won_time}


def test_what_comes_back_after_the_period_is_recognized_at_once() -> None:
    charge = charge_of(3000)
    dispute = dispute_of(charge, 1, 3000)
    taken = list(book_withdrawal(dispute, charge, {}, NOON, deferred(charge)))
    stopped = changed_by(deferred(charge), taken, NOON)
    won_time = NOON + 40 * DAY
    won = changed_by(stopped, book_reinstatement(taken, won_time), won_time)
    after, booked = recognize(won, won_time, ALL)
    assert (after.next_date, len(booked)) == (None, 30)

    refund = list(book_refund(refund_of(charge, 1, 1000), charge, {}, NOON, deferred(charge)))
    rest, _ = recognize(changed_by(deferred(charge), refund, NOON), won_time, ALL)
    back = changed_by(rest, [reverse(it, won_time) for it in refund], won_time)
    after, [at_once] = recognize(back, won_time, ALL)
    assert (at_once.amount_minor, at_once.book_time, at_once.occur_time) == (1000, won_time, None)
    assert after.next_date is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("refund"), st.fractions(0, 1)),
        st.tuples(st.just("refund comes back"), st.just(0)),
        st.tuples(st.just("dispute"), st.fractions(0, 1)),
        st.tuples(st.just("dispute is won"), st.just(0)),
        st.tuples(st.just("days"), st.integers(1, 25)),
    ),
    max_size=12,
)


@given(st.integers(1, 5000), st.integers(0, 500), st.integers(1, 60), STEPS)
def test_any_history_sums_to_zero_and_no_more_is_recognized_than_was_sold(
    net_minor: int, tax_minor: int, days: int, steps: list[tuple[str, int]]
) -> None:
    charge = charge_of(net_minor, tax_minor, days)
    deferral, now = deferred(charge), NOON
    booked = list(book_charge(charge, now, defers=True))
    given_back: Counter[str] = Counter()
    refunds: list[list[Transfer]] = []
    disputes: list[tuple[Dispute, list[Transfer]]] = []
    left_minor = charge.amount_minor
    for number, (step, size) in enumerate(steps):
        news: list[Transfer] = []
        amount_minor = int(left_minor * size) if step in {"refund", "dispute"} else 0
        if step == "days":
            now += size * DAY
            deferral, recognized = recognize(deferral, now, ALL)
            booked += recognized
        # Nothing is refunded while a dispute is open.
        elif step == "refund" and amount_minor and not disputes:
            refund = refund_of(charge, number, amount_minor)
            news = list(book_refund(refund, charge, given_back, now, deferral))
            given_back.update(given_back_by(news))
            refunds.append(news)
            left_minor -= amount_minor
        elif step == "refund comes back" and refunds:
            back = refunds.pop()
            news = [reverse(it, now) for it in back]
            given_back.subtract(given_back_by(back))
            left_minor += sum(given_back_by(back).values())
        elif step == "dispute" and amount_minor:
            dispute = dispute_of(charge, number, amount_minor)
            news = list(book_withdrawal(dispute, charge, given_back, now, deferral))
            disputes.append((dispute, news))
            left_minor -= amount_minor
        elif step == "dispute is won" and disputes:
            dispute, taken = disputes.pop()
            news = list(book_reinstatement(taken, now))
            left_minor += dispute.amount_minor
        booked += news
        deferral = changed_by(deferral, news, now)

        sums = balances(booked)
        assert sum(sums.values()) == sums[RECEIVABLE] == 0
        assert -sums[DEFERRED_REVENUE] == deferral.deferred_minor
        assert 0 <= deferral.deferred_minor <= deferral.spread_minor
        assert -sums[REVENUE] + deferral.deferred_minor <= net_minor
        assert (deferral.next_date is None) == (deferral.deferred_minor == 0)

    deferral, recognized = recognize(deferral, max(now, NOON + days * DAY) + DAY, ALL)
    sums = balances([*booked, *recognized])
    assert sums[DEFERRED_REVENUE] == deferral.deferred_minor == 0
    keys = [(it.source, it.kind) for it in (*booked, *recognized)]
    assert len(keys) == len(set(keys))
    if not left_minor:
        # What was sold was given back or taken, and what was recognized of it is lost beside it.
        lost_minor = sum(
            it.amount_minor for _, taken in disputes for it in taken if it.debit_account == DISPUTES
        )
        assert sums[PROVIDER_CLEARING] == 0
        assert -sums[REVENUE] <= sums[REFUNDS] + lost_minor
