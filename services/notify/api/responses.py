"""From the domain to responses."""

from collections.abc import Iterable
from datetime import datetime

from recurring.notify.v1 import notify_pb2

from services.notify.domain.notices import Contact, Delivery, Notice
from services.notify.domain.phone_codes import PhoneCode, mask_phone
from services.notify.domain.planning import ChannelPlan
from services.notify.domain.templates.own import OwnTemplate
from services.notify.domain.templates.rendering import Text, warnings
from services.notify.domain.templates.segments import segments
from services.notify.names import CONTACT, NOTICE, NOTICE_TEMPLATE
from services.runtime.rpc.conversions import etag, optional_timestamp, to_timestamp


def contact_message(contact: Contact) -> notify_pb2.Contact:
    """A contact, its phone masked."""
    return notify_pb2.Contact(
        name=CONTACT.format(*contact.key),
        display_name=contact.display_name,
        email=contact.email,
        masked_phone=mask_phone(contact.phone),
        preferences=notify_pb2.Contact.Preferences(
            sms_receipts_muted=contact.sms_receipts_muted,
            email_muted=contact.email_muted,
            summaries_muted=contact.summaries_muted,
        ),
        create_time=to_timestamp(contact.create_time),
        etag=etag(contact.version),
        bind_time=optional_timestamp(contact.bind_time),
        locale=contact.locale,
        time_zone=contact.time_zone,
        pending_masked_phone=mask_phone(contact.pending_phone),
        pending_bind_time=optional_timestamp(contact.pending_bind_time),
        phone_lapse_time=optional_timestamp(contact.phone_lapse_time),
        phone_lapse_reason=unbind_reason(contact.phone_lapse_reason),
        email_bind_time=optional_timestamp(contact.email_bind_time),
        sms_stop_time=optional_timestamp(contact.sms_stop_time),
    )


def unbind_reason(name: str) -> notify_pb2.UnbindReason.ValueType:
    """Why a phone is not proved any more; empty: it is, or there is none."""
    if not name:
        return notify_pb2.UNBIND_REASON_UNSPECIFIED
    return notify_pb2.UnbindReason.Value(name)


def code_response(code: PhoneCode) -> notify_pb2.StartPhoneBindingResponse:
    """Until when the code can be used; nothing of the code."""
    return notify_pb2.StartPhoneBindingResponse(expire_time=to_timestamp(code.expire_time))


def link_response(code: PhoneCode) -> notify_pb2.StartEmailBindingResponse:
    """Until when the link can be used; nothing of its token."""
    return notify_pb2.StartEmailBindingResponse(expire_time=to_timestamp(code.expire_time))


def template_message(template: OwnTemplate) -> notify_pb2.NoticeTemplate:
    """A version of a merchant's own template."""
    return notify_pb2.NoticeTemplate(
        name=NOTICE_TEMPLATE.format(*template.key),
        kind=notify_pb2.NoticeKind.Value(template.kind),
        channel=notify_pb2.Channel.Value(template.channel),
        locale=template.locale,
        subject=template.subject,
        text=template.text,
        fallback=template.is_fallback,
        version=template.version,
    )


def preview_response(sms: Text, email: Text) -> notify_pb2.PreviewNoticeResponse:
    """What a notice says on each channel, and what its SMS takes."""
    taken = segments(sms.text)
    return notify_pb2.PreviewNoticeResponse(
        sms_text=sms.text,
        email_subject=email.subject,
        email_text=email.text,
        sms_encoding=notify_pb2.SmsEncoding.Value(taken.encoding),
        sms_segment_count=taken.segment_count,
        warnings=warnings(sms.text),
    )


def plan_response(
    plans: Iterable[ChannelPlan], until: datetime | None, failure_code: str, make_time: datetime
) -> notify_pb2.PreviewNoticesResponse:
    """What a notice does on each channel."""
    return notify_pb2.PreviewNoticesResponse(
        channel_plans=[
            notify_pb2.ChannelPlan(
                channel=notify_pb2.Channel.Value(plan.channel),
                use=notify_pb2.ChannelPlan.Use.Value(plan.use),
                reason=notify_pb2.ChannelPlan.Reason.Value(plan.reason),
                send_time=optional_timestamp(plan.send_time),
                fall_back_time=optional_timestamp(plan.fall_back_time),
            )
            for plan in plans
        ],
        deadline_time=optional_timestamp(until),
        failure_code=failure_code,
        make_time=to_timestamp(make_time),
    )


def notice_message(notice: Notice) -> notify_pb2.Notice:
    """A notice with its deliveries, the main one first."""
    return notify_pb2.Notice(
        name=NOTICE.format(*notice.key),
        kind=notify_pb2.NoticeKind.Value(notice.kind),
        subject_resource=notice.subject_resource,
        deliveries=[_delivery_message(notice, delivery) for delivery in notice.deliveries],
        create_time=to_timestamp(notice.create_time),
        original_notice=_sibling_name(notice, notice.original_notice),
    )


def _sibling_name(notice: Notice, other: str) -> str:
    """The name of another notice to the same customer; empty: there is none."""
    return NOTICE.format(*notice.customer_key, other) if other else ""


def _delivery_message(notice: Notice, delivery: Delivery) -> notify_pb2.Notice.Delivery:
    return notify_pb2.Notice.Delivery(
        channel=notify_pb2.Channel.Value(delivery.channel),
        state=notify_pb2.Notice.Delivery.State.Value(delivery.state),
        text=delivery.text,
        attempt_count=delivery.attempt_count,
        failure_code=delivery.failure_code,
        deliver_time=optional_timestamp(delivery.deliver_time),
        locale=delivery.locale,
        template_revision=delivery.template,
        accept_time=optional_timestamp(delivery.accept_time),
        gateway_message=delivery.gateway_message,
        digest_notice=_sibling_name(notice, delivery.digest_notice),
    )
