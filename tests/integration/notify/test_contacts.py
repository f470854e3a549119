"""Contacts as platforms keep them."""

from collections.abc import Awaitable
from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2

from services.runtime.errors import Problem
from tests.integration.notify.suite import ANN, PHONE, Notify, order_skipped

Preferences = notify_pb2.Contact.Preferences


async def refusal(call: Awaitable[Any]) -> Problem:
    with pytest.raises(Problem) as refused:
        await call
    return refused.value


def update(**contact: Any) -> notify_pb2.UpdateContactRequest:  # noqa: ANN401
    wanted = notify_pb2.Contact(name=f"{ANN}/contact", **contact)
    return notify_pb2.UpdateContactRequest(contact=wanted)


async def test_a_contact_is_created_and_read_back(notify: Notify) -> None:
    created = await notify.contact(email="ann@example.com")
    read = await notify.call("GetContact", notify_pb2.GetContactRequest(name=created.name))

    assert read == created
    assert (created.display_name, created.email, created.masked_phone) == (
        "Ann",
        "ann@example.com",
        "",
    )


async def test_a_contact_is_not_created_by_an_update_that_does_not_say_so(notify: Notify) -> None:
    problem = await refusal(notify.call("UpdateContact", update(display_name="Ann")))

    assert problem.reason == "CONTACT_NOT_FOUND"


async def test_a_contact_needs_a_name(notify: Notify) -> None:
    request = update(email="ann@example.com")
    request.allow_missing = True
    problem = await refusal(notify.call("UpdateContact", request))

    assert [violation.field for violation in problem.violations] == ["contact.display_name"]


async def test_only_what_is_given_changes(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    changed = await notify.call(
        "UpdateContact", update(preferences=Preferences(sms_receipts_muted=True))
    )

    assert (changed.display_name, changed.email) == ("Ann", "ann@example.com")
    assert changed.preferences.sms_receipts_muted


async def test_a_mask_can_empty_a_field(notify: Notify) -> None:
    await notify.contact(email="ann@example.com")
    request = update()
    request.update_mask.paths.append("email")
    changed = await notify.call("UpdateContact", request)

    assert (changed.display_name, changed.email) == ("Ann", "")


async def test_a_mask_can_choose_one_preference(notify: Notify) -> None:
    await notify.contact(preferences=Preferences(sms_receipts_muted=True))
    request = update(preferences=Preferences(email_muted=True))
    request.update_mask.paths.append("preferences.email_muted")
    changed = await notify.call("UpdateContact", request)

    assert changed.preferences == Preferences(sms_receipts_muted=True, email_muted=True)


async def test_a_stale_etag_is_refused(notify: Notify) -> None:
    before = await notify.contact()
    await notify.contact(email="ann@example.com")
    problem = await refusal(
        notify.call("UpdateContact", update(display_name="Anna", etag=before.etag))
    )

    assert problem.reason == "ETAG_MISMATCH"


@pytest.mark.parametrize(
    ("contact", "field"),
    [
        ({"display_name": "A" * 61}, "contact.display_name"),
        ({"display_name": "Ann\nBcc: all"}, "contact.display_name"),
        ({"display_name": "Ann\x00"}, "contact.display_name"),
        ({"display_name": "  "}, "contact.display_name"),
        ({"email": "ann"}, "contact.email"),
        ({"email": "ann@example.com\nBcc: x@example.com"}, "contact.email"),
        ({"email": f"{'a' * 64}@{'b' * 190}.com"}, "contact.email"),
    ],
)
async def test_a_bad_field_is_named(notify: Notify, contact: dict[str, str], field: str) -> None:
    await notify.contact()
    problem = await refusal(notify.call("UpdateContact", update(**contact)))

    assert (problem.reason, [v.field for v in problem.violations]) == ("FIELD_INVALID", [field])


@pytest.mark.parametrize("path", ["masked_phone", "name", "preferences.x", ""])
async def test_a_mask_names_only_what_can_be_changed(notify: Notify, path: str) -> None:
    await notify.contact()
    request = update(display_name="Ann")
    request.update_mask.paths.append(path)
    problem = await refusal(notify.call("UpdateContact", request))

    assert [violation.field for violation in problem.violations] == ["update_mask"]


async def test_contacts_are_listed_by_customer_to_the_end(notify: Notify) -> None:
    for customer in ("carl", "ann", "bob"):
        await notify.contact(f"merchants/acme/customers/{customer}")
    request = notify_pb2.ListContactsRequest(parent="merchants/acme", page_size=2)
    first = await notify.call("ListContacts", request)
    request.page_token = first.next_page_token
    second = await notify.call("ListContacts", request)

    names = [contact.name.split("/")[3] for contact in [*first.contacts, *second.contacts]]
    assert (names, second.next_page_token) == (["ann", "bob", "carl"], "")


async def test_another_merchant_is_refused_whether_or_not_the_contact_exists(
    notify: Notify,
) -> None:
    await notify.contact()
    reasons = [
        (await refusal(notify.call("GetContact", request, merchant="other"))).reason
        for request in (
            notify_pb2.GetContactRequest(name=f"{ANN}/contact"),
            notify_pb2.GetContactRequest(name="merchants/acme/customers/nobody/contact"),
        )
    ]

    assert reasons == ["MERCHANT_FORBIDDEN"] * 2


async def test_many_customers_are_checked_in_the_order_of_the_asking(notify: Notify) -> None:
    await notify.contact()
    await notify.contact("merchants/acme/customers/bob")
    await notify.bind()
    customers = [f"merchants/acme/customers/{name}" for name in ("bob", "ann", "nobody", "ann")]
    request = notify_pb2.BatchCheckContactsRequest(customers=customers)
    answer = await notify.call("BatchCheckContacts", request, merchant="*")

    assert [result.phone_bound for result in answer.results] == [False, True, False, True]


@pytest.mark.parametrize("count", [0, 501])
async def test_a_check_of_none_or_too_many_is_refused(notify: Notify, count: int) -> None:
    request = notify_pb2.BatchCheckContactsRequest(customers=[ANN] * count)
    problem = await refusal(notify.call("BatchCheckContacts", request, merchant="*"))

    assert [violation.field for violation in problem.violations] == ["customers"]


async def test_notices_are_listed_the_oldest_first_to_the_end(notify: Notify) -> None:
    await notify.contact()
    await notify.receive(*(order_skipped(cycle=cycle) for cycle in (1, 2, 3)))
    request = notify_pb2.ListNoticesRequest(parent=ANN, page_size=2)
    first = await notify.call("ListNotices", request)
    request.page_token = first.next_page_token
    second = await notify.call("ListNotices", request)

    subjects = [notice.subject_resource[-1] for notice in [*first.notices, *second.notices]]
    assert (subjects, second.next_page_token) == (["1", "2", "3"], "")


async def test_notices_about_one_order_can_be_asked_for(notify: Notify) -> None:
    await notify.contact()
    await notify.receive(order_skipped(cycle=1), order_skipped(cycle=2))
    order = order_skipped(cycle=2).ref.order
    request = notify_pb2.ListNoticesRequest(parent=ANN, subject_resource=order)
    answer = await notify.call("ListNotices", request)

    assert [notice.subject_resource for notice in answer.notices] == [order]


async def test_a_notice_is_found_by_its_name(notify: Notify) -> None:
    await notify.contact()
    await notify.receive(order_skipped())
    [listed] = await notify.notices()
    notice = await notify.call("GetNotice", notify_pb2.GetNoticeRequest(name=listed.name))

    assert notice == listed


async def test_a_notice_that_was_never_made_is_not_found(notify: Notify) -> None:
    request = notify_pb2.GetNoticeRequest(name=f"{ANN}/notices/none")

    assert (await refusal(notify.call("GetNotice", request))).reason == "NOTICE_NOT_FOUND"


async def test_every_kind_of_notice_can_be_previewed(notify: Notify) -> None:
    for kind in list(notify_pb2.NoticeKind.values())[1:]:
        request = notify_pb2.PreviewNoticeRequest(parent="merchants/acme", kind=kind)
        preview = await notify.call("PreviewNotice", request)
        assert preview.sms_text
        assert preview.email_subject
        assert preview.email_text


async def test_a_preview_of_no_kind_is_refused(notify: Notify) -> None:
    request = notify_pb2.PreviewNoticeRequest(parent="merchants/acme")
    problem = await refusal(notify.call("PreviewNotice", request))

    assert [violation.field for violation in problem.violations] == ["kind"]


async def test_no_answer_shows_a_whole_phone_number(notify: Notify) -> None:
    await notify.contact()
    contact = await notify.bind()

    assert contact.masked_phone == "+49••••••••67"
    assert PHONE not in str(contact) + str(await notify.notices())
