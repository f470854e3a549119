"""A preview of the notice before a charge is of the time at which the scheduler makes it."""

from dataclasses import replace
from datetime import time, timedelta

from hypothesis import given
from hypothesis import strategies as st
from recurring.notify.v1 import notify_pb2

from services.notify.api.requests import read_planned_notice
from services.runtime.auth.call_context import Caller, set_caller
from services.runtime.rpc.conversions import to_timestamp
from services.scheduler.domain.standing_order import at_cycle
from tests.unit.scheduler.test_standing_order import SIGN_UP, leads, new_standing_order

ZONES = st.sampled_from(["UTC", "Asia/Tokyo", "Europe/Berlin", "Pacific/Apia", "Africa/Cairo"])


@given(lead=leads, local_time=st.integers(0, 23).map(time), zone=ZONES)
def test_an_announcement_is_previewed_for_when_it_is_made(
    lead: timedelta, local_time: time, zone: str
) -> None:
    set_caller(Caller("test", "acme", frozenset({"platform"})))
    made = new_standing_order(lead=lead)
    schedule = replace(made.schedule, local_time=local_time, time_zone=zone)
    standing_order = at_cycle(replace(made, schedule=schedule), 1)
    assert standing_order.next_due_time is not None
    assert standing_order.prepare_time is not None
    request = notify_pb2.PreviewNoticesRequest(
        parent="merchants/acme/customers/ada",
        kind=notify_pb2.ORDER_UPCOMING,
        charge_not_before_time=to_timestamp(standing_order.next_due_time),
        schedule_time_zone=zone,
    )
    request.notice_lead.FromTimedelta(lead)

    planned = read_planned_notice(request, SIGN_UP)
    assert planned.make_time == max(SIGN_UP, standing_order.prepare_time)
