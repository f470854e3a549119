"""Notices put into words, for the channel and the language of whoever gets them, when they are sent."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.notify.domain.notices import (
    Addressee,
    Channel,
    Delivery,
    Facts,
    MerchantId,
    Notice,
    Sender,
)
from services.notify.domain.references import reference_of
from services.notify.domain.replies.inbound import SenderNumbers
from services.notify.domain.templates.examples import EXAMPLE_REFERENCE
from services.notify.domain.templates.own import OwnTemplate, chosen
from services.notify.domain.templates.phones import EmailLink, PhoneCode
from services.notify.domain.templates.rendering import (
    RenderError,
    Source,
    Text,
    rendered_as_shipped,
    rendered_by,
    rendered_digest,
)
from services.notify.domain.templates.shipped import shipped_locale
from services.notify.store.attempts import Outgoing

log = logging.getLogger(__name__)

OwnTemplates = Mapping[MerchantId, Sequence[OwnTemplate]]


def outgoing_with_text(outgoing: Outgoing, own: OwnTemplates, senders: SenderNumbers) -> Outgoing:
    """A delivery that is due, with its text: that of its first attempt, if there was one."""
    if outgoing.members and not outgoing.delivery.text:
        return _with_digest(outgoing)
    delivery = _rendered(outgoing.notice, outgoing.delivery, outgoing.addressee, own, senders)
    is_new = delivery.text != outgoing.delivery.text
    return outgoing._replace(delivery=delivery, text_is_new=is_new)


def _with_digest(outgoing: Outgoing) -> Outgoing:
    """A message of several notices, each of which keeps its words."""
    said = (outgoing, *outgoing.members)
    facts = [it.notice.facts for it in said if it.notice.facts is not None]
    if not facts:
        return outgoing
    addressee, locale = outgoing.addressee, shipped_locale(outgoing.addressee.locale)
    sender = Sender(addressee.merchant_display_name, addressee.complaint_address)
    name, channel = addressee.display_name, outgoing.delivery.channel
    text = rendered_digest(facts, channel, addressee.locale, name, sender)
    first, *others = (
        it._replace(
            delivery=it.delivery._replace(subject=text.subject, text=text.text, locale=locale),
            text_is_new=True,
        )
        for it in said
    )
    return first._replace(members=tuple(others))


def text_to_send(outgoing: Outgoing) -> str:
    """What the customer reads: the text, with the one-time code or the link if there is one."""
    facts, code = outgoing.notice.facts, outgoing.delivery.secret_text
    locale, sender = outgoing.delivery.locale, _sender(outgoing.addressee, outgoing.notice)
    if isinstance(facts, PhoneCode) and code is not None:
        return rendered_as_shipped(replace(facts, code=code), Channel.SMS, locale, "", sender).text
    if isinstance(facts, EmailLink) and code is not None:
        link = replace(facts, link_uri=code)
        return rendered_as_shipped(link, Channel.EMAIL, locale, "", sender).text
    return outgoing.delivery.text


def with_texts(
    notice: Notice, addressee: Addressee, own: OwnTemplates, senders: SenderNumbers
) -> Notice:
    """A notice with the texts that would be sent now of what has not been sent."""
    deliveries = tuple(
        _rendered(notice, delivery, addressee, own, senders) for delivery in notice.deliveries
    )
    return notice._replace(deliveries=deliveries)


def preview(
    facts: Facts,
    channel: Channel,
    addressee: Addressee,
    own: Sequence[OwnTemplate],
    *,
    takes_replies: bool,
) -> Text:
    """What a notice says on a channel. Raises RenderError."""
    template = chosen(own, facts.kind, channel, addressee.locale)
    name, sender = addressee.display_name, Sender(*addressee[2:], EXAMPLE_REFERENCE, takes_replies)
    if template is None:
        return rendered_as_shipped(facts, channel, addressee.locale, name, sender)
    source = Source(template.locale, template.subject, template.text)
    return rendered_by(source, channel, facts, name, sender)


def _rendered(
    notice: Notice,
    delivery: Delivery,
    addressee: Addressee,
    own: OwnTemplates,
    senders: SenderNumbers,
) -> Delivery:
    facts, channel = notice.facts, delivery.channel
    if delivery.text or facts is None:
        return delivery
    template = chosen(own.get(notice.merchant, ()), facts.kind, channel, addressee.locale)
    sender = _sender(addressee, notice)._replace(
        takes_replies=senders.takes_replies(notice.merchant)
    )
    if template is not None:
        source = Source(template.locale, template.subject, template.text)
        try:
            text = rendered_by(source, channel, facts, addressee.display_name, sender)
        except RenderError as error:
            # Whatever a template is, the customer is notified of their money.
            log.warning("a template cannot be rendered: %s", error.problem.reason, extra={
                "template": template.template, "version": template.version})  # fmt: skip
        else:
            return delivery._replace(
                subject=text.subject,
                text=text.text,
                locale=template.locale,
                template=f"{template.template}@{template.version}",
            )
    text = rendered_as_shipped(facts, channel, addressee.locale, addressee.display_name, sender)
    locale = shipped_locale(addressee.locale)
    return delivery._replace(subject=text.subject, text=text.text, locale=locale)


def _sender(addressee: Addressee, notice: Notice) -> Sender:
    """Who writes about what a notice is about."""
    reference = reference_of(notice.subject_resource)
    return Sender(addressee.merchant_display_name, addressee.complaint_address, reference)
