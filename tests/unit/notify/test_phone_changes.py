"""When a phone that was proved takes the place of the one that is bound."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.notices import Contact, CustomerId, CustomerKey, MerchantId, new_contact
from services.notify.domain.phone_changes import bind_time_of

NOW = datetime(2026, 1, 28, 8, tzinfo=UTC)
WAIT = timedelta(hours=72)
KEY = CustomerKey(MerchantId("acme"), CustomerId("ann"))
PHONES = st.sampled_from(["+491701234567", "+491709999999", "+491708888888"])
MOMENTS = st.integers(-100, 100).map(lambda hours: NOW + timedelta(hours=hours))


@st.composite
def contacts(draw: st.DrawFn) -> Contact:
    """A contact that any calls may have led to."""
    contact = new_contact(KEY, NOW)
    if draw(st.booleans()):
        contact = contact._replace(phone=draw(PHONES), bind_time=NOW)
    elif draw(st.booleans()):
        contact = contact._replace(phone_hold_until_time=draw(MOMENTS))
    if draw(st.booleans()):
        contact = contact._replace(pending_phone=draw(PHONES), pending_bind_time=draw(MOMENTS))
    return contact


@given(contacts(), PHONES)
def test_a_bound_phone_is_replaced_at_once_only_if_it_agrees(contact: Contact, phone: str) -> None:
    time = bind_time_of(contact, phone, NOW, WAIT, is_released=False)
    if contact.phone not in {"", phone} and contact.pending_phone != phone:
        assert time == NOW + WAIT
    assert bind_time_of(contact, phone, NOW, WAIT, is_released=True) == NOW


@given(contacts(), PHONES)
def test_a_first_phone_is_bound_at_once_unless_one_was_just_unbound(
    contact: Contact, phone: str
) -> None:
    contact = contact._replace(phone="", pending_phone="", pending_bind_time=None)
    time = bind_time_of(contact, phone, NOW, WAIT, is_released=False)
    assert time == max(NOW, contact.phone_hold_until_time or NOW)


@given(contacts(), PHONES, st.lists(st.integers(0, 50), max_size=5))
def test_whoever_proves_a_phone_again_and_again_gets_it_no_later(
    contact: Contact, phone: str, pauses: list[int]
) -> None:
    now = NOW
    first = bind_time_of(contact, phone, now, WAIT, is_released=False)
    contact = contact._replace(pending_phone=phone, pending_bind_time=first)
    for hours in pauses:
        now += timedelta(hours=hours)
        again = bind_time_of(contact, phone, now, WAIT, is_released=False)
        assert again == first or contact.phone == phone
