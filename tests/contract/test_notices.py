"""Notices as platforms shape them: in whose language, and where it is what time."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import duration_pb2
from recurring.notify.v1 import notify_pb2

from services.runtime.rpc.conversions import to_timestamp
from tests.contract.customer import Customer, new_customer
from tests.suite import Suite, new_id, refused


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


def update(ann: Customer, **fields: Any) -> notify_pb2.UpdateContactRequest:  # noqa: ANN401
    contact = notify_pb2.Contact(name=f"{ann.name}/contact", **fields)
    return notify_pb2.UpdateContactRequest(contact=contact, request_id=new_id())


async def test_a_contact_has_a_language_and_a_time_zone(ann: Customer) -> None:
    contact = await ann.shop.notify.UpdateContact(
        update(ann, locale="zh-tw", time_zone="Asia/Taipei")
    )
    assert (contact.locale, contact.time_zone) == ("zh-Hant-TW", "Asia/Taipei")
    assert contact.display_name


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("locale", "qq-DE", "LOCALE_UNKNOWN"),
        ("locale", "de_DE", "FIELD_INVALID"),
        ("time_zone", "Europe/Atlantis", "TIME_ZONE_UNKNOWN"),
    ],
)
async def test_a_language_or_a_time_zone_that_nobody_has(
    ann: Customer, field: str, value: str, reason: str
) -> None:
    refusal = await refused(ann.shop.notify.UpdateContact(update(ann, **{field: value})))
    assert refusal.fields == {f"contact.{field}": reason}


# --- templates ------------------------------------------------------------------------------------

OPENING = "{{ title }}: {{ amount }} am {{ pay_time | date }}."


def template(ann: Customer, template_id: str, text: str, **fields: Any) -> Any:  # noqa: ANN401
    return notify_pb2.NoticeTemplate(
        name=f"{ann.shop.name}/noticeTemplates/{template_id}", text=text, **fields
    )


async def store(ann: Customer, template_id: str, text: str, **fields: Any) -> Any:  # noqa: ANN401
    request = notify_pb2.UpdateNoticeTemplateRequest(
        notice_template=template(ann, template_id, text, **fields), request_id=new_id()
    )
    return await ann.shop.notify.UpdateNoticeTemplate(request)


async def preview(ann: Customer, locale: str = "de", **fields: Any) -> Any:  # noqa: ANN401
    request = notify_pb2.PreviewNoticeRequest(
        parent=ann.shop.name, kind=notify_pb2.RECEIPT, locale=locale, **fields
    )
    return await ann.shop.notify.PreviewNotice(request)


async def test_a_template_takes_the_place_of_the_suites_and_is_versioned(ann: Customer) -> None:
    shipped = (await preview(ann)).sms_text
    first = await store(ann, "receipt-sms-de", OPENING)
    second = await store(ann, "receipt-sms-de", "Danke: {{ amount }}")
    assert (first.kind, first.channel, first.locale, first.version, second.version) == (
        notify_pb2.RECEIPT, notify_pb2.SMS, "de", 1, 2,
    )  # fmt: skip
    assert (await preview(ann, "de-AT")).sms_text == "Danke: 12,50 EUR"
    lookup = notify_pb2.GetNoticeTemplateRequest(name=first.name, version=1)
    assert (await ann.shop.notify.GetNoticeTemplate(lookup)).text == OPENING
    request = notify_pb2.DeleteNoticeTemplateRequest(name=first.name, request_id=new_id())
    await ann.shop.notify.DeleteNoticeTemplate(request)
    assert (await preview(ann)).sms_text == shipped


async def test_a_fallback_is_for_languages_that_have_none(ann: Customer) -> None:
    await store(ann, "receipt-sms-fr", "Merci: {{ amount }}", fallback=True)
    await store(ann, "receipt-sms-es", "Gracias: {{ amount }}")
    texts = [(await preview(ann, locale)).sms_text for locale in ("de", "es", "")]
    assert texts == ["Merci: 12,50 EUR", "Gracias: 12,50 EUR", "Merci: 12,50 EUR"]


async def test_templates_are_listed_by_name_in_pages(ann: Customer) -> None:
    for template_id in ("refund-sms-de", "receipt-sms-de"):
        await store(ann, template_id, "Danke")
    listed, token = [], ""
    while True:
        request = notify_pb2.ListNoticeTemplatesRequest(
            parent=ann.shop.name, page_size=1, page_token=token
        )
        page = await ann.shop.notify.ListNoticeTemplates(request)
        listed += [each.name.rpartition("/")[2] for each in page.notice_templates]
        if not (token := page.next_page_token):
            break
    assert listed == ["receipt-sms-de", "refund-sms-de"]


async def test_a_draft_is_previewed_and_warned_of_and_not_stored(ann: Customer) -> None:
    draft = template(ann, "receipt-sms-de", "Danke! " * 80)
    shown = await preview(ann, "", notice_template=draft)
    assert shown.sms_segment_count > 3
    assert [warning.split(" segments")[0] for warning in shown.warnings] == [
        f"takes {shown.sms_segment_count}"
    ]
    assert "Danke" not in (await preview(ann, "en")).sms_text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ amount", "TEMPLATE_SYNTAX_INVALID"),
        ("{{ prize }}", "TEMPLATE_VARIABLE_UNKNOWN"),
        ("{{ amount.__class__ }}", "TEMPLATE_VARIABLE_UNKNOWN"),
        ("{% for i in range(999999999) %}x{% endfor %}", "TEMPLATE_ELEMENT_NOT_ALLOWED"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "TEMPLATE_ELEMENT_NOT_ALLOWED"),
        ("{{ 'x' * 1000000 }}", "TEMPLATE_ELEMENT_NOT_ALLOWED"),
        ("{{ '\\u202e' }}", "TEMPLATE_ELEMENT_NOT_ALLOWED"),
        ("{% for line in lines %}" + "x" * 3900 + "{% endfor %}", "TEMPLATE_OUTPUT_TOO_LONG"),
        ("x" * 1000, "TEMPLATE_SEGMENTS_TOO_MANY"),
        ("{% if paused %}x{% endif %}", "TEMPLATE_OUTPUT_EMPTY"),
        ("Danke\u202e", "FIELD_INVALID"),
    ],
)
async def test_a_template_that_cannot_be_sent_is_refused_with_the_reason(
    ann: Customer, text: str, reason: str
) -> None:
    refusal = await refused(store(ann, "receipt-sms-de", text))
    assert refusal.fields == {"notice_template.text": reason}
    refusal = await refused(preview(ann, notice_template=template(ann, "receipt-sms-de", text)))
    assert refusal.fields == {"notice_template.text": reason}


@pytest.mark.parametrize(
    "template_id", ["receipt", "receipt-sms", "receipt-sms-qq", "phone-code-sms-de"]
)
async def test_a_template_is_for_a_kind_a_channel_and_a_language(
    ann: Customer, template_id: str
) -> None:
    refusal = await refused(store(ann, template_id, "Danke"))
    assert refusal.fields == {"notice_template.name": "TEMPLATE_NAME_INVALID"}
    draft = template(ann, template_id, "Danke")
    refusal = await refused(preview(ann, notice_template=draft))
    assert refusal.fields == {"notice_template.name": "TEMPLATE_NAME_INVALID"}


@pytest.mark.parametrize(
    ("template_id", "subject"), [("receipt-sms-de", "x"), ("receipt-email-de", "")]
)
async def test_an_email_has_a_subject_and_an_sms_has_none(
    ann: Customer, template_id: str, subject: str
) -> None:
    refusal = await refused(store(ann, template_id, "Danke", subject=subject))
    assert refusal.fields == {"notice_template.subject": "TEMPLATE_SUBJECT_MISPLACED"}
    draft = template(ann, template_id, "Danke", subject=subject)
    refusal = await refused(preview(ann, notice_template=draft))
    assert refusal.fields == {"notice_template.subject": "TEMPLATE_SUBJECT_MISPLACED"}


async def test_a_preview_is_in_a_language(ann: Customer) -> None:
    assert (await preview(ann, "ar")).sms_encoding == notify_pb2.UCS_2
    assert (await preview(ann, "de")).sms_encoding == notify_pb2.GSM_7
    refusal = await refused(preview(ann, "qq"))
    assert refusal.fields == {"locale": "LOCALE_UNKNOWN"}


async def test_an_announcement_is_previewed_in_a_time_zone_that_there_is(ann: Customer) -> None:
    request = notify_pb2.PreviewNoticesRequest(
        parent=ann.name,
        kind=notify_pb2.ORDER_UPCOMING,
        charge_not_before_time=to_timestamp(datetime(2030, 1, 1, tzinfo=UTC)),
        notice_lead=duration_pb2.Duration(seconds=3600),
        schedule_time_zone="Europe/Atlantis",
    )
    refusal = await refused(ann.shop.notify.PreviewNotices(request))
    assert refusal.fields == {"schedule_time_zone": "TIME_ZONE_UNKNOWN"}


async def test_on_which_channels_a_notice_would_go_is_previewed(ann: Customer) -> None:
    receipt = notify_pb2.PreviewNoticesRequest(parent=ann.name, kind=notify_pb2.RECEIPT)
    await ann.shop.notify.UpdateContact(update(ann, email="ann@example.com"))
    preview = await ann.shop.notify.PreviewNotices(receipt)
    plan = notify_pb2.ChannelPlan
    assert [(it.channel, it.use) for it in preview.channel_plans] == [
        (notify_pb2.SMS, plan.MAIN),
        (notify_pb2.EMAIL, plan.COPY),
    ]
    assert preview.failure_code == ""


async def test_messages_are_counted_by_kind_in_pages(ann: Customer) -> None:
    await ann.subscribe()
    await ann.suite.sandbox.settle()
    rows: list[notify_pb2.NoticeStatistics] = []
    token = ""
    while True:
        request = notify_pb2.ListNoticeStatisticsRequest(
            parent=ann.shop.name,
            dimensions=[notify_pb2.NoticeStatistics.REGION, notify_pb2.NoticeStatistics.KIND],
            page_size=1,
            page_token=token,
        )
        page = await ann.shop.notify.ListNoticeStatistics(request)
        rows += page.notice_statistics
        if not (token := page.next_page_token):
            break
    assert [(it.region_code, it.kind, it.delivery_count) for it in rows] == [
        ("DE", notify_pb2.PHONE_CODE, 1),
        ("DE", notify_pb2.STANDING_ORDER_CHANGED, 1),
    ]
    assert all(it.segment_count >= 1 and it.costs[0].nanos > 0 for it in rows)
