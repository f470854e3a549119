"""Another phone takes the place of the one that is bound, or none does."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import events_pb2, notify_pb2

from services.notify.domain.phone_changes import PHONE_CHANGE_WAIT
from services.notify.names import CUSTOMER
from services.notify.store import contacts, phones
from services.runtime.errors import Problem
from tests.integration.notify.suite import ANN, PHONE, Notify, order_upcoming

CONTACT = f"{ANN}/contact"
OTHER = "+491709999999"
BOB, EVE = "merchants/acme/customers/bob", "merchants/acme/customers/eve"


async def reason(call: Awaitable[Any]) -> str:
    with pytest.raises(Problem) as refused:
        await call
    return refused.value.reason


@pytest.fixture
async def ann(notify: Notify) -> Notify:
    await notify.contact()
    await notify.bind()
    return notify


async def contact(notify: Notify) -> notify_pb2.Contact:
    found: notify_pb2.Contact = await notify.call(
        "GetContact", notify_pb2.GetContactRequest(name=CONTACT)
    )
    return found


async def cancel(notify: Notify) -> notify_pb2.Contact:
    request = notify_pb2.CancelPhoneChangeRequest(name=CONTACT)
    kept: notify_pb2.Contact = await notify.call("CancelPhoneChange", request)
    return kept


async def unbind(notify: Notify) -> notify_pb2.Contact:
    request = notify_pb2.UnbindPhoneRequest(name=CONTACT)
    unbound: notify_pb2.Contact = await notify.call("UnbindPhone", request)
    return unbound


async def code_on(notify: Notify, phone: str) -> str:
    return (await notify.inbox(phone))[-1][:8]


async def test_a_new_phone_waits_and_the_bound_one_is_notified(ann: Notify) -> None:
    waiting = await ann.bind(OTHER)
    await ann.deliver()
    assert (waiting.masked_phone[-2:], waiting.pending_masked_phone[-2:]) == ("67", "99")
    assert waiting.pending_bind_time.ToDatetime() == ann.clock.now().replace(tzinfo=None) + (
        PHONE_CHANGE_WAIT
    )
    assert (await ann.inbox())[-1] == (
        "From Sat 31 Jan 2026, 08:00 on, messages about your orders go to +49********99, not to "
        "this phone. If you did not ask for it, please tell the shop before then: it can stop the "
        "change."
    )


async def test_a_new_phone_is_bound_when_nobody_has_objected_in_time(ann: Notify) -> None:
    await ann.bind(OTHER)
    ann.clock.move(PHONE_CHANGE_WAIT - timedelta(seconds=1))
    await ann.change_phones()
    assert (await contact(ann)).masked_phone.endswith("67")
    ann.clock.move(timedelta(seconds=1))
    await ann.change_phones()
    await ann.deliver()
    changed = await contact(ann)
    assert (changed.masked_phone[-2:], changed.pending_masked_phone) == ("99", "")
    assert "now go to" in (await ann.inbox())[-1]
    assert len(await ann.published(events_pb2.ContactBound)) == 2


async def test_a_change_that_is_cancelled_never_happens(ann: Notify) -> None:
    await ann.bind(OTHER)
    assert (await cancel(ann)).pending_masked_phone == ""
    ann.clock.move(PHONE_CHANGE_WAIT)
    await ann.change_phones()
    assert (await contact(ann)).masked_phone.endswith("67")
    assert await reason(cancel(ann)) == "PHONE_CHANGE_NOT_PENDING"


async def test_to_prove_the_new_phone_again_does_not_put_it_off(ann: Notify) -> None:
    first = await ann.bind(OTHER)
    ann.clock.move(timedelta(hours=1))
    assert (await ann.bind(OTHER)).pending_bind_time == first.pending_bind_time


async def test_with_the_code_of_the_bound_phone_the_new_one_is_bound_at_once(ann: Notify) -> None:
    changed = await ann.rebind(OTHER)
    assert (changed.masked_phone[-2:], changed.pending_masked_phone) == ("99", "")
    assert "have messages sent to +49********99 in place of this phone" in (await ann.inbox())[-1]


async def test_the_new_phones_code_does_not_speak_for_the_bound_one(ann: Notify) -> None:
    await ann.start_binding(OTHER, with_present_phone=True)
    await ann.deliver()
    new, present = await code_on(ann, OTHER), await code_on(ann, PHONE)
    assert await reason(ann.confirm(new, present=new)) == "CODE_WRONG"
    assert await reason(ann.confirm(present, present=present)) == "CODE_WRONG"
    assert (await ann.confirm(new, present=present)).masked_phone.endswith("99")


async def test_five_wrong_guesses_void_the_code_of_the_bound_phone_alone(ann: Notify) -> None:
    await ann.start_binding(OTHER, with_present_phone=True)
    await ann.deliver()
    new = await code_on(ann, OTHER)
    guesses = [await reason(ann.confirm(new, present=new)) for _ in range(5)]
    assert guesses == ["CODE_WRONG"] * 5
    assert await reason(ann.confirm(new, present=new)) == "CODE_NOT_PENDING"
    assert (await ann.confirm(new)).pending_masked_phone.endswith("99")


async def test_the_code_of_a_phone_that_is_not_bound_any_more_releases_nothing(ann: Notify) -> None:
    await ann.bind(OTHER)
    await ann.start_binding("+491708888888", with_present_phone=True)
    await ann.deliver()
    new, former = await code_on(ann, "+491708888888"), await code_on(ann, PHONE)
    async with ann.database.begin() as tx:
        present = await contacts.one(tx, CUSTOMER.key(ANN))
        assert present is not None
        await phones.bind(tx, [phones.BoundPhone(present, OTHER)], ann.clock.now())
    waiting = await ann.confirm(new, present=former)
    assert (waiting.masked_phone[-2:], waiting.pending_masked_phone[-2:]) == ("99", "88")


async def test_the_bound_phone_is_proved_again_without_a_wait(ann: Notify) -> None:
    assert (await ann.bind(PHONE)).pending_masked_phone == ""


async def test_only_a_bound_phone_can_agree(notify: Notify) -> None:
    await notify.contact()
    call = notify.start_binding(OTHER, with_present_phone=True)
    assert await reason(call) == "PHONE_NOT_BOUND"


async def test_a_phone_is_unbound_and_notified(ann: Notify) -> None:
    assert not (await unbind(ann)).masked_phone
    await ann.deliver()
    assert "no longer come to this phone" in (await ann.inbox())[-1]
    [unbound] = await ann.published(events_pb2.ContactUnbound)
    assert (unbound.customer, unbound.reason) == (ANN, notify_pb2.REQUESTED)
    request = notify_pb2.BatchCheckContactsRequest(customers=[ANN])
    [checked] = (await ann.call("BatchCheckContacts", request, merchant="*")).results
    assert not checked.phone_bound
    assert await reason(unbind(ann)) == "PHONE_NOT_BOUND"


async def test_to_unbind_a_phone_is_no_way_around_the_wait(ann: Notify) -> None:
    await unbind(ann)
    ann.clock.move(timedelta(hours=1))
    waiting = await ann.bind(OTHER)
    assert (waiting.masked_phone, waiting.pending_masked_phone[-2:]) == ("", "99")
    ann.clock.move(PHONE_CHANGE_WAIT - timedelta(hours=1))
    await ann.change_phones()
    assert (await contact(ann)).masked_phone.endswith("99")


async def test_to_unbind_a_phone_ends_a_change_that_waits(ann: Notify) -> None:
    await ann.bind(OTHER)
    await unbind(ann)
    ann.clock.move(PHONE_CHANGE_WAIT)
    await ann.change_phones()
    assert not (await contact(ann)).masked_phone


async def test_what_waits_for_a_phone_that_is_unbound_fails(ann: Notify) -> None:
    await ann.outage("sms", on=True)
    await ann.receive(order_upcoming())
    await ann.deliver()
    await unbind(ann)
    await ann.outage("sms", on=False)
    ann.clock.move(timedelta(minutes=1))
    await ann.deliver()
    [failed] = await ann.published(events_pb2.ChargeNoticeFailed)
    assert failed.failure_code == "NO_CHANNEL"


async def test_customers_are_found_by_their_phone_within_a_merchant(ann: Notify) -> None:
    for customer in (BOB, EVE):
        await ann.contact(customer)
    await ann.bind(PHONE, BOB)
    await ann.bind(OTHER, EVE)

    async def having(phone: str, merchant: str = "acme") -> list[str]:
        request = notify_pb2.ListContactsRequest(parent=f"merchants/{merchant}", phone=phone)
        listed = await ann.call("ListContacts", request, merchant=merchant)
        return [it.name.removesuffix("/contact") for it in listed.contacts]

    assert await having(PHONE) == [ANN, BOB]
    assert await having(OTHER) == [EVE]
    assert await having(PHONE, "other") == []
    await unbind(ann)
    assert await having(PHONE) == [BOB]
