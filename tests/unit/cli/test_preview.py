from google.type import money_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.preview import months, side_by_side
from cli.values import parse_date

FOUR_EUROS = money_pb2.Money(currency_code="EUR", units=4)
FIVE_EUROS = money_pb2.Money(currency_code="EUR", units=5)


def cycle(
    number: int,
    day: str,
    amount: money_pb2.Money | None = None,
    skip: pb.OrderReason.ValueType = pb.ORDER_REASON_UNSPECIFIED,
) -> pb.CyclePreview:
    return pb.CyclePreview(
        cycle=number, local_date=parse_date(day), amount=amount, skip_reason=skip
    )


def test_a_month_is_a_grid_with_its_cycles_marked() -> None:
    unpriced = cycle(3, "2027-02-28")
    unpriced.problems.append(pb.PRICE_UNAVAILABLE)
    [february] = months(
        [
            cycle(1, "2027-02-01", FOUR_EUROS),
            cycle(2, "2027-02-14", skip=pb.SKIPPED_BY_CUSTOMER),
            unpriced,
        ]
    )
    assert [line.rstrip() for line in february.plain.splitlines()] == [
        "       February 2027",
        " Mo  Tu  We  Th  Fr  Sa  Su",
        "[ 1]  2   3   4   5   6   7",
        "  8   9  10  11  12  13 (14)",
        " 15  16  17  18  19  20  21",
        " 22  23  24  25  26  27 !28!",
    ]


def test_only_months_with_a_cycle_are_shown_in_their_order() -> None:
    shown = months([cycle(2, "2028-01-31"), cycle(1, "2027-11-30")])
    assert [month.plain.splitlines()[0].strip() for month in shown] == [
        "November 2027",
        "January 2028",
    ]


def test_before_and_after_stand_side_by_side() -> None:
    response = pb.PreviewStandingOrderUpdateResponse(
        before=[cycle(1, "2027-01-01", FOUR_EUROS), cycle(2, "2027-01-08", FOUR_EUROS)],
        after=[
            cycle(1, "2027-01-01", FOUR_EUROS),
            cycle(2, "2027-01-09", FIVE_EUROS),
            cycle(3, "2027-01-16", skip=pb.DATE_EXCLUDED),
        ],
    )
    assert side_by_side(response) == [
        ("1", "2027-01-01", "4.00 EUR", "=", "2027-01-01", "4.00 EUR"),
        ("2", "2027-01-08", "4.00 EUR", "→", "2027-01-09", "5.00 EUR"),
        ("3", "none", "", "→", "2027-01-16", "DATE_EXCLUDED"),
    ]


def test_what_a_change_puts_in_the_way_of_a_cycle_stands_beside_its_amount() -> None:
    after = cycle(1, "2027-01-01", FIVE_EUROS)
    after.problems.append(pb.MANDATE_NOT_COVERING)
    response = pb.PreviewStandingOrderUpdateResponse(
        before=[cycle(1, "2027-01-01", FIVE_EUROS)], after=[after]
    )
    assert side_by_side(response) == [
        ("1", "2027-01-01", "5.00 EUR", "→", "2027-01-01", "5.00 EUR, MANDATE_NOT_COVERING"),
    ]
