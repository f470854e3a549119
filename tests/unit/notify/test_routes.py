"""By which of two gateways a message goes."""

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.notices import Attempt, Channel, Delivery, Verdict, progress
from services.notify.domain.routes import Route, route_of, routed
from services.notify.domain.transitions import DeliveryState
from services.notify.workers.pace import Pace, PaceLimit

NOW = datetime(2026, 1, 28, 8, tzinfo=UTC)
NEW = Delivery(
    channel=Channel.SMS,
    main=True,
    state=DeliveryState.PENDING,
    subject="",
    text="Hello",
    secret_text=None,
    next_attempt_time=NOW,
    give_up_time=NOW + timedelta(days=30),
)
REFUSED = Attempt(Verdict.TEMPORARY, "402", is_refused=True)
LOST = Attempt(Verdict.TEMPORARY, "UNREACHABLE")
UNKNOWN = Attempt(Verdict.UNKNOWN, "500")
NOT_TRIED = Attempt(Verdict.NOT_TRIED)


@given(st.lists(st.tuples(st.sampled_from([REFUSED, LOST, UNKNOWN, NOT_TRIED]), st.booleans())))
def test_no_gateway_tries_what_another_may_have(steps: list[tuple[Attempt, bool]]) -> None:
    delivery, holder = NEW, None
    for attempt, primary_is_away in steps:
        route = route_of(delivery, primary_is_away=primary_is_away)
        assert holder in {None, route}
        came_to = routed(delivery, route, attempt, progress(delivery, attempt, NOW), NOW)
        if attempt in (LOST, UNKNOWN):
            holder = route
        elif attempt is REFUSED:
            holder = None
        delivery = delivery._replace(gateway=came_to.gateway, attempt_count=came_to.attempt_count)


def test_what_is_new_goes_by_the_second_while_the_first_is_away() -> None:
    assert route_of(NEW, primary_is_away=False) is Route.PRIMARY
    assert route_of(NEW, primary_is_away=True) is Route.SECONDARY


def test_what_was_tried_when_there_was_one_gateway_stays_with_it() -> None:
    tried = NEW._replace(attempt_count=1)
    assert route_of(tried, primary_is_away=True) is Route.PRIMARY


def test_what_both_refuse_is_tried_again_after_a_pause() -> None:
    came_to = routed(NEW, Route.SECONDARY, REFUSED, progress(NEW, REFUSED, NOW), NOW)
    assert came_to.gateway == Route.PRIMARY
    assert came_to.next_attempt_time > NOW


async def test_a_gateway_gets_as_many_messages_a_second_as_it_takes() -> None:
    loop = asyncio.get_running_loop()
    pace, start = Pace(PaceLimit(messages_per_second=20)), loop.time()
    # Those of a second go at once, and one each twentieth of a second after them.
    turns = [await pace.turn(start + 60) for _ in range(24)]
    assert all(turns)
    assert loop.time() - start >= 0.14


async def test_a_turn_that_comes_too_late_is_given_up_at_once() -> None:
    pace, now = Pace(PaceLimit(messages_per_second=0.5)), asyncio.get_running_loop().time()
    assert await pace.turn(now + 1)
    assert not await pace.turn(now + 1)
