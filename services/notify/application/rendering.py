"""Notices put into words, for the channel and the locale of whoever gets them, when they are sent."""

from dataclasses import replace

from services.notify.domain.locales import DEFAULT_LOCALE
from services.notify.domain.notices import Addressee, Channel, Delivery, Facts, Notice
from services.notify.domain.templates.phones import PhoneCode
from services.notify.domain.templates.wording import Template, render
from services.notify.store.attempts import Outgoing


def outgoing_with_text(outgoing: Outgoing) -> Outgoing:
    """A delivery that is due, with its text: that of its first attempt, if there was one."""
    delivery = _rendered(outgoing.delivery, outgoing.notice.facts, outgoing.display_name)
    is_new = delivery.text != outgoing.delivery.text
    return replace(outgoing, delivery=delivery, text_is_new=is_new)


def text_to_send(outgoing: Outgoing) -> str:
    """What the customer reads: the text, with the one-time code if there is one."""
    facts, code = outgoing.notice.facts, outgoing.delivery.secret_text
    if isinstance(facts, PhoneCode) and code is not None:
        return render(replace(facts, code=code), "").sms
    return outgoing.delivery.text


def with_texts(notice: Notice, addressee: Addressee) -> Notice:
    """A notice with the texts that would be sent now of what has not been sent."""
    deliveries = tuple(
        _rendered(delivery, notice.facts, addressee.display_name) for delivery in notice.deliveries
    )
    return replace(notice, deliveries=deliveries)


def _rendered(delivery: Delivery, facts: Facts | None, display_name: str) -> Delivery:
    if delivery.text or facts is None:
        return delivery
    assert isinstance(facts, Template)  # noqa: S101 - all kinds have words
    texts = render(facts, display_name)
    sms = delivery.channel is Channel.SMS
    return replace(
        delivery,
        subject="" if sms else texts.email_subject,
        text=texts.sms if sms else texts.email,
        locale=DEFAULT_LOCALE,
    )
