"""The proof that a phone is its owner's."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from recurring.audit.v1 import audit_pb2
from recurring.notify.v1 import events_pb2, notify_pb2

from services.notify import api
from services.notify.domain.phone_codes import CodeBudget
from services.notify.domain.phone_numbers import NumberPolicies, NumberPolicy
from services.notify.domain.sms_prices import parse_prices, to_micros
from services.runtime.errors import Problem
from tests.integration.notify.suite import ANN, PHONE, Notify

CONTACT = f"{ANN}/contact"


async def reason(call: Awaitable[Any]) -> str:
    with pytest.raises(Problem) as refused:
        await call
    return refused.value.reason


async def code_sent(notify: Notify, phone: str = PHONE) -> str:
    await notify.start_binding(phone)
    await notify.deliver()
    return (await notify.inbox(phone))[-1][:8]


def another(code: str) -> str:
    return f"{(int(code) + 1) % 10**8:08d}"


async def test_a_code_from_the_phone_binds_it(notify: Notify) -> None:
    await notify.contact()
    contact = await notify.confirm(await code_sent(notify))

    assert contact.masked_phone == "+49••••••••67"
    [bound] = await notify.published(events_pb2.ContactBound)
    assert (bound.customer, bound.bind_time) == (ANN, contact.bind_time)


async def test_nobody_without_a_contact_gets_a_code(notify: Notify) -> None:
    assert await reason(notify.start_binding()) == "CONTACT_NOT_FOUND"


async def test_a_code_that_was_never_sent_binds_nothing(notify: Notify) -> None:
    await notify.contact()

    assert await reason(notify.confirm("00000000")) == "CODE_NOT_PENDING"


async def test_a_code_works_once(notify: Notify) -> None:
    await notify.contact()
    code = await code_sent(notify)
    await notify.confirm(code)

    assert await reason(notify.confirm(code)) == "CODE_NOT_PENDING"


async def test_a_code_is_void_after_five_minutes(notify: Notify) -> None:
    await notify.contact()
    code = await code_sent(notify)
    notify.clock.move(timedelta(minutes=5))

    assert await reason(notify.confirm(code)) == "CODE_EXPIRED"


async def test_five_wrong_guesses_void_a_code(notify: Notify) -> None:
    await notify.contact()
    code = await code_sent(notify)
    guesses = [await reason(notify.confirm(another(code))) for _ in range(5)]

    assert guesses == ["CODE_WRONG"] * 5
    assert await reason(notify.confirm(code)) == "CODE_NOT_PENDING"


async def test_four_wrong_guesses_leave_a_fifth_that_is_right(notify: Notify) -> None:
    await notify.contact()
    code = await code_sent(notify)
    for _ in range(4):
        await reason(notify.confirm(another(code)))

    assert (await notify.confirm(code)).masked_phone


async def test_guesses_made_at_once_are_all_counted(notify: Notify) -> None:
    await notify.contact()
    wrong = another(await code_sent(notify))
    reasons = await asyncio.gather(*(reason(notify.confirm(wrong)) for _ in range(8)))

    assert sorted(reasons) == ["CODE_NOT_PENDING"] * 3 + ["CODE_WRONG"] * 5


async def test_a_wrong_guess_is_audited_without_the_code(notify: Notify) -> None:
    await notify.contact()
    wrong = another(await code_sent(notify))
    assert await reason(notify.confirm(wrong)) == "CODE_WRONG"
    request = audit_pb2.ListAuditEntriesRequest(parent="merchants/acme", resource=CONTACT)
    entry = (await notify.call("ListAuditEntries", request)).audit_entries[0]
    assert (entry.method, dict(entry.after)) == ("ConfirmPhoneBinding", {"reason": "CODE_WRONG"})


async def test_a_new_code_voids_the_one_before(notify: Notify) -> None:
    await notify.contact()
    first = await code_sent(notify)
    second = await code_sent(notify)
    while second == first:  # Once in a hundred million times.
        second = await code_sent(notify)

    assert await reason(notify.confirm(first)) == "CODE_WRONG"
    assert (await notify.confirm(second)).masked_phone


async def test_a_sixth_code_within_an_hour_is_refused(notify: Notify) -> None:
    await notify.contact()
    for _ in range(5):
        await notify.start_binding()

    assert await reason(notify.start_binding()) == "CODES_TOO_MANY"
    notify.clock.move(timedelta(hours=1))
    await notify.start_binding()


async def started(notify: Notify, customer: str, phone: str = PHONE) -> tuple[Any, ...]:
    """Start a binding of a contact, made if need be; returns how that was refused."""
    merchant = customer.split("/")[1]
    contact = notify_pb2.Contact(name=f"{customer}/contact", display_name="Ann")
    make = notify_pb2.UpdateContactRequest(contact=contact, allow_missing=True)
    await notify.call("UpdateContact", make, merchant=merchant)
    start = notify_pb2.StartPhoneBindingRequest(name=contact.name, phone=phone)
    try:
        await notify.call("StartPhoneBinding", start, merchant=merchant)
    except Problem as refused:
        return refused.reason, refused.message, refused.retry_seconds
    return ()


async def test_a_number_gets_five_codes_an_hour_whoever_asks_for_them(notify: Notify) -> None:
    customers = [f"merchants/{m}/customers/c{n}" for m in ("acme", "other") for n in range(4)]
    sent = await asyncio.gather(*(started(notify, customer) for customer in customers))

    assert sorted(map(bool, sent)) == [False] * 5 + [True] * 3
    notify.clock.move(timedelta(hours=1))
    assert await started(notify, ANN) == ()


async def test_a_refusal_does_not_tell_whether_the_number_or_the_customer_had_its_codes(
    notify: Notify,
) -> None:
    for _ in range(5):
        await started(notify, ANN)
    elsewhere = await started(notify, "merchants/other/customers/bob")

    assert elsewhere == await started(notify, ANN, "+491700000002")


async def test_to_erase_a_customer_does_not_give_their_number_more_codes(notify: Notify) -> None:
    for _ in range(5):
        await started(notify, ANN)
        await notify.call("EraseCustomer", notify_pb2.EraseCustomerRequest(name=ANN))

    assert "CODES_TOO_MANY" in await started(notify, ANN)


async def test_numbers_are_forgotten_with_the_first_code_after_their_hour(notify: Notify) -> None:
    for number in range(3):
        await started(notify, ANN, f"+49170000000{number}")
    notify.clock.move(timedelta(hours=1))
    await started(notify, ANN)
    async with notify.database.read() as connection:
        count = await connection.driver.fetchval("SELECT count(*) FROM code_limits")
    assert count == 4  # Of the customer, the number, its neighbours and the caller.


async def test_a_family_can_share_a_phone(notify: Notify) -> None:
    customers = [ANN, "merchants/acme/customers/bob"]
    for customer in customers:
        await notify.contact(customer)
        await notify.bind(PHONE, customer)
    request = notify_pb2.BatchCheckContactsRequest(customers=customers)
    answer = await notify.call("BatchCheckContacts", request, merchant="*")

    assert [result.phone_bound for result in answer.results] == [True, True]


async def test_the_same_request_again_sends_no_second_code(notify: Notify) -> None:
    await notify.contact()
    request = notify_pb2.StartPhoneBindingRequest(
        name=CONTACT, phone=PHONE, request_id=str(uuid.uuid4())
    )
    answers = [await notify.call("StartPhoneBinding", request) for _ in range(2)]
    await notify.deliver()

    assert answers[0] == answers[1]
    assert len(await notify.inbox()) == 1


async def test_the_same_confirmation_again_is_answered_as_before(notify: Notify) -> None:
    await notify.contact()
    request = notify_pb2.ConfirmPhoneBindingRequest(
        name=CONTACT, code=await code_sent(notify), request_id=str(uuid.uuid4())
    )
    answers = await asyncio.gather(*(notify.call("ConfirmPhoneBinding", request) for _ in range(2)))

    assert answers[0] == answers[1]
    assert len(await notify.published(events_pb2.ContactBound)) == 1


async def test_a_code_is_sent_and_not_shown(notify: Notify) -> None:
    await notify.contact()
    await notify.start_binding()
    [pending] = await notify.notices()
    await notify.deliver()
    [sent] = await notify.notices()
    code = (await notify.inbox())[0][:8]

    assert code.isdigit()
    assert code not in str(pending) + str(sent)
    assert sent.deliveries[0].text.startswith("******** is your code")


@pytest.mark.parametrize("delivered", [True, False])
async def test_nothing_stored_gives_a_code_away_once_it_is_sent_or_void(
    notify: Notify, *, delivered: bool
) -> None:
    await notify.contact()
    if delivered:
        await code_sent(notify)
    else:
        await notify.outage("sms", on=True)
        await notify.start_binding()
        await notify.deliver()
        notify.clock.move(timedelta(minutes=5))
        await notify.deliver()
    async with notify.database.read() as connection:
        rows = await connection.fetch("SELECT state, secret_text FROM deliveries")

    assert [tuple(row) for row in rows] == [("DELIVERED" if delivered else "FAILED", None)]


async def test_a_code_that_was_voided_in_an_outage_is_not_sent_after_it(notify: Notify) -> None:
    await notify.contact()
    await notify.outage("sms", on=True)
    await notify.start_binding()
    await notify.deliver()
    await notify.outage("sms", on=False)
    code = await code_sent(notify)
    notify.clock.move(timedelta(minutes=1))
    await notify.deliver()

    assert [body[:8] for body in await notify.inbox()] == [code]


async def test_a_code_goes_to_the_new_phone_and_not_to_the_bound_one(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await code_sent(notify, "+491709999999")

    assert len(await notify.inbox(PHONE)) == 1


@pytest.mark.parametrize("phone", ["", "030 123", "+0123456789", "+49170", "+4917012345678901"])
async def test_a_number_that_is_not_e164_is_refused(notify: Notify, phone: str) -> None:
    await notify.contact()

    assert await reason(notify.start_binding(phone)) == "FIELD_INVALID"


@pytest.mark.parametrize("code", ["", "1234567", "123456789", "1234567a", "١٢٣٤٥٦٧٨"])
async def test_a_code_that_is_not_eight_digits_is_no_guess(notify: Notify, code: str) -> None:
    await notify.contact()

    assert await reason(notify.confirm(code)) == "FIELD_INVALID"


async def outcomes(notify: Notify, phones: Sequence[str]) -> Counter[str]:
    """How the attempts to send each of many customers a code end."""
    answers = [
        await started(notify, f"merchants/acme/customers/c{n}", phone)
        for n, phone in enumerate(phones)
    ]
    return Counter(refused[0] if refused else "SENT" for refused in answers)


async def test_numbers_in_a_row_get_twenty_codes_an_hour(notify: Notify) -> None:
    row = [f"+491701234{n:03}" for n in range(120)]

    assert await outcomes(notify, row) == {"SENT": 20, "CODES_TOO_MANY": 100}
    notify.clock.move(timedelta(hours=1))
    assert await started(notify, ANN, row[0]) == ()


async def test_a_merchant_has_a_budget_of_codes_an_hour_and_a_day(notify: Notify) -> None:
    notify.api = api.Servicer(notify.database, notify.clock, budget=CodeBudget(3, 5))
    apart = [f"+4917012{n:02}567" for n in range(12)]

    assert await outcomes(notify, apart[:4]) == {"SENT": 3, "CODE_BUDGET_SPENT": 1}
    assert await started(notify, "merchants/other/customers/bob", apart[5]) == ()
    notify.clock.move(timedelta(hours=1))
    assert await outcomes(notify, apart[6:9]) == {"SENT": 2, "CODE_BUDGET_SPENT": 1}
    _, _, retry_seconds = await started(notify, ANN, apart[10])
    end = notify.clock.now() + timedelta(seconds=retry_seconds)
    assert end == datetime(2026, 1, 29, tzinfo=UTC)


async def test_codes_cost_what_their_countries_do_until_the_day_is_over(notify: Notify) -> None:
    prices = parse_prices("EUR *=1 DE=0.03")
    budget = CodeBudget(day_spend_max_micros=to_micros("0.1"), prices=prices)
    notify.api = api.Servicer(notify.database, notify.clock, budget=budget)
    # A segment each.
    german = [f"+4917012{n:02}567" for n in range(4)]
    assert await outcomes(notify, ["+447911123456", *german]) == {"SENT": 3, "CODE_BUDGET_SPENT": 2}
    notify.clock.move(timedelta(days=1))
    assert await started(notify, ANN, german[2]) == ()


async def test_a_caller_gets_fewer_codes_than_its_merchant(notify: Notify) -> None:
    notify.api = api.Servicer(notify.database, notify.clock, budget=CodeBudget(caller_hour_max=2))
    apart = [f"+4917012{n:02}567" for n in range(3)]
    assert await outcomes(notify, apart) == {"SENT": 2, "CODES_TOO_MANY": 1}
    notify.clock.move(timedelta(hours=1))
    assert await started(notify, ANN, apart[2]) == ()


async def test_a_number_is_answered_alike_whether_a_customer_has_it_or_not(notify: Notify) -> None:
    await notify.contact()
    await notify.bind()
    await notify.contact("merchants/acme/customers/bob")

    async def answer(phone: str) -> bytes:
        request = notify_pb2.StartPhoneBindingRequest(
            name="merchants/acme/customers/bob/contact", phone=phone
        )
        answered: bytes = (await notify.call("StartPhoneBinding", request)).SerializeToString()
        return answered

    assert await answer(PHONE) == await answer("+491709999999")


async def test_to_erase_customers_does_not_give_a_merchant_more_codes(notify: Notify) -> None:
    notify.api = api.Servicer(notify.database, notify.clock, budget=CodeBudget(3, 5))
    for n in range(3):
        await started(notify, ANN, f"+4917012{n:02}567")
        await notify.call("EraseCustomer", notify_pb2.EraseCustomerRequest(name=ANN))

    assert "CODE_BUDGET_SPENT" in await started(notify, ANN, "+491701299567")


async def test_a_number_of_a_country_that_is_not_served_gets_no_code(notify: Notify) -> None:
    policies = NumberPolicies(
        NumberPolicy(frozenset({"DE"})), {"other": NumberPolicy(frozenset({"GB", "US"}))}
    )
    notify.api = api.Servicer(notify.database, notify.clock, policies)

    assert "PHONE_COUNTRY_NOT_ALLOWED" in await started(notify, ANN, "+12025550123")
    assert await started(notify, "merchants/other/customers/bob", "+12025550123") == ()


async def test_what_is_no_mobile_number_gets_no_code(notify: Notify) -> None:
    assert "PHONE_NOT_VALID" in await started(notify, ANN, "+1234567")
    assert "PHONE_NOT_MOBILE" in await started(notify, ANN, "+449091234567")
