"""Who is reached how, how often a message is tried, and what a code proves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.notices import (
    DELIVERY_LIFETIME,
    WITH_ATTACHMENT,
    Attempt,
    BillingMode,
    Channel,
    Contact,
    CustomerId,
    CustomerKey,
    Delivery,
    MerchantId,
    NoticeId,
    NoticeKey,
    NoticeKind,
    Promise,
    Verdict,
    channels,
    is_sendable,
    new_contact,
    progress,
)
from services.notify.domain.phone_codes import (
    CodeCheck,
    CodePurpose,
    PhoneCode,
    after_miss,
    check_code,
    mask_phone,
)
from services.notify.domain.transitions import CodeState, DeliveryState

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
BOTH = new_contact(CustomerKey(MerchantId("acme"), CustomerId("ann")), NOW)._replace(
    display_name="Ann",
    email="ann@example.com",
    phone="+491701234567",
    pending_phone="",
    pending_bind_time=None,
    phone_hold_until_time=None,
    phone_lapse_time=None,
    phone_lapse_reason="",
)
PHONE_ONLY = BOTH._replace(email="")
EMAIL_ONLY = BOTH._replace(phone="")
SMS, EMAIL = Channel.SMS, Channel.EMAIL
COPIED = {
    NoticeKind.ORDER_UPCOMING, NoticeKind.PAYMENT_REQUEST, NoticeKind.RECEIPT, NoticeKind.PRICE_CHANGE,
    NoticeKind.PRICE_CHANGE_WITHDRAWN, NoticeKind.PRICE_PROTECTION_ENDING,
    NoticeKind.PROMOTION_ENDING, NoticeKind.PAYMENT_ACTION_REQUIRED, NoticeKind.PAYMENT_REMINDER,
    NoticeKind.PAYMENT_OVERDUE, NoticeKind.DISPUTE_OPENED, NoticeKind.DISPUTE_CLOSED,
}  # fmt: skip


@pytest.mark.parametrize("kind", NoticeKind)
def test_the_phone_comes_first_and_mail_copies_what_matters(kind: NoticeKind) -> None:
    if kind is NoticeKind.DOCUMENT_ISSUED:
        assert channels(kind, BOTH, NOW) == (EMAIL,)
    else:
        assert channels(kind, BOTH, NOW) == ((SMS, EMAIL) if kind in COPIED else (SMS,))


@pytest.mark.parametrize("kind", NoticeKind)
def test_without_a_phone_everything_comes_by_mail(kind: NoticeKind) -> None:
    assert channels(kind, EMAIL_ONLY, NOW) == (EMAIL,)


@pytest.mark.parametrize("kind", NoticeKind)
def test_without_a_mail_address_all_but_files_comes_by_phone(kind: NoticeKind) -> None:
    assert channels(kind, PHONE_ONLY, NOW) == (() if kind in WITH_ATTACHMENT else (SMS,))


@pytest.mark.parametrize("contact", [None, BOTH._replace(phone="", email="")])
def test_without_any_way_there_is_no_channel(contact: Contact | None) -> None:
    assert channels(NoticeKind.ORDER_UPCOMING, contact, NOW) == ()


@pytest.mark.parametrize("kind", [kind for kind in NoticeKind if kind is not NoticeKind.RECEIPT])
def test_muting_receipts_mutes_nothing_else(kind: NoticeKind) -> None:
    assert channels(kind, BOTH._replace(sms_receipts_muted=True), NOW) == channels(kind, BOTH, NOW)


def test_a_receipt_that_is_muted_on_the_phone_still_comes_by_mail() -> None:
    assert channels(NoticeKind.RECEIPT, BOTH._replace(sms_receipts_muted=True), NOW) == (EMAIL,)


@pytest.mark.parametrize("kind", NoticeKind)
def test_muted_mail_leaves_the_phone(kind: NoticeKind) -> None:
    reached = channels(kind, BOTH._replace(email_muted=True), NOW)
    assert reached == (() if kind in WITH_ATTACHMENT else (SMS,))


@pytest.mark.parametrize("kind", [NoticeKind.ORDER_UPCOMING, NoticeKind.PAYMENT_REQUEST])
def test_before_money_moves_the_customer_is_notified_whatever_is_muted(kind: NoticeKind) -> None:
    muted = EMAIL_ONLY._replace(email_muted=True, sms_receipts_muted=True)

    assert channels(kind, muted, NOW) == (EMAIL,)


def test_what_is_muted_everywhere_has_no_channel() -> None:
    muted = BOTH._replace(email_muted=True, sms_receipts_muted=True)

    assert channels(NoticeKind.RECEIPT, muted, NOW) == ()


# --- attempts -----------------------------------------------------------------------------------

PENDING = Delivery(
    channel=SMS,
    main=True,
    state=DeliveryState.PENDING,
    subject="",
    text="Hello",
    secret_text=None,
    next_attempt_time=NOW,
    give_up_time=NOW + DELIVERY_LIFETIME,
)
UNAVAILABLE = Attempt(Verdict.TEMPORARY, "503")


def test_attempts_come_later_and_later_for_a_day() -> None:
    delivery, pauses = PENDING, []
    while True:
        now = delivery.next_attempt_time
        made = progress(delivery, UNAVAILABLE, now)
        if made.state is not DeliveryState.PENDING:
            break
        pauses.append(made.next_attempt_time - now)
        delivery = delivery._replace(
            attempt_count=made.attempt_count, next_attempt_time=made.next_attempt_time
        )

    seconds, minutes, hours = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours"))
    assert pauses[:6] == [10 * seconds, minutes, 5 * minutes, 30 * minutes, hours, hours]
    assert set(pauses[5:]) == {hours}
    assert timedelta(hours=23) < sum(pauses, timedelta()) <= DELIVERY_LIFETIME


def test_a_message_that_is_refused_for_good_is_not_tried_again() -> None:
    made = progress(PENDING, Attempt(Verdict.PERMANENT, "invalid_number"), NOW)

    assert (made.state, made.failure_code) == (DeliveryState.FAILED, "invalid_number")


def test_a_delivery_forgets_why_it_had_failed_before() -> None:
    failed_once = PENDING._replace(attempt_count=1, failure_code="503")
    made = progress(failed_once, Attempt(Verdict.DELIVERED), NOW)

    assert (made.state, made.deliver_time, made.failure_code) == (
        DeliveryState.DELIVERED,
        NOW,
        "",
    )


def test_a_message_whose_turn_did_not_come_has_not_been_tried() -> None:
    made = progress(PENDING, Attempt(Verdict.NOT_TRIED), NOW)

    assert (made.state, made.attempt_count, made.next_attempt_time) == (
        DeliveryState.PENDING,
        0,
        NOW,
    )


def test_a_notice_is_sent_however_late_and_a_code_only_while_it_is_valid() -> None:
    late = PENDING.give_up_time

    assert is_sendable(PENDING, late)
    assert not is_sendable(PENDING._replace(secret_text="123456"), late)


@given(
    lead=st.timedeltas(timedelta(hours=1), timedelta(days=60)),
    delay=st.timedeltas(timedelta(), timedelta(days=90)),
)
def test_a_promise_keeps_both_its_time_and_its_lead_however_late_it_arrives(
    lead: timedelta, delay: timedelta
) -> None:
    promise = Promise(1250, "EUR", NOW + lead, lead, BillingMode.AUTOMATIC)
    delivered = NOW + delay
    earliest = promise.charge_not_before_if_delivered(delivered)

    assert earliest == NOW + lead + delay


# --- codes --------------------------------------------------------------------------------------

NOTICE_KEY = NoticeKey(MerchantId("acme"), CustomerId("ann"), NoticeId("notice"))
SENT = PhoneCode(
    NOTICE_KEY, CodePurpose.BIND, "+491701234567", b"hash", 0, NOW + timedelta(minutes=5)
)


@pytest.mark.parametrize(("wrong_count", "state"), [(0, CodeState.PENDING), (4, CodeState.VOID)])
def test_the_fifth_wrong_guess_voids_a_code(wrong_count: int, state: CodeState) -> None:
    assert after_miss(replace(SENT, wrong_count=wrong_count)) is state


@pytest.mark.parametrize(
    ("pending", "matches", "after", "check"),
    [
        (SENT, True, timedelta(), CodeCheck.RIGHT),
        (SENT, True, timedelta(minutes=4, seconds=59), CodeCheck.RIGHT),
        (SENT, True, timedelta(minutes=5), CodeCheck.CODE_EXPIRED),
        (SENT, False, timedelta(), CodeCheck.CODE_WRONG),
        (SENT, False, timedelta(minutes=5), CodeCheck.CODE_EXPIRED),
        (None, False, timedelta(), CodeCheck.CODE_NOT_PENDING),
    ],
)
def test_a_code_proves_a_phone_if_it_is_right_and_in_time(
    pending: PhoneCode | None, *, matches: bool, after: timedelta, check: CodeCheck
) -> None:
    assert check_code(pending, NOW + after, matches=matches) is check


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_masked_phone_shows_its_ends_alone(phone: str) -> None:
    masked = mask_phone(phone)

    assert len(masked) == len(phone)
    assert (masked[:3], masked[-2:]) == (phone[:3], phone[-2:])
    assert set(masked[3:-2]) == {"•"}


def test_no_phone_is_masked_as_none() -> None:
    assert mask_phone("") == ""
