"""Notices put into words, for the channel and the locale of whoever gets them, when they are sent."""

from dataclasses import replace

from services.notify.domain.notices import Addressee, Channel, Delivery, Facts, Notice
from services.notify.domain.templates.phones import PhoneCode
from services.notify.domain.templates.rendering import rendered_as_shipped
from services.notify.domain.templates.shipped import shipped_locale
from services.notify.store.attempts import Outgoing


def outgoing_with_text(outgoing: Outgoing) -> Outgoing:
    """A delivery that is due, with its text: that of its first attempt, if there was one."""
    addressee = Addressee(outgoing.display_name, outgoing.locale)
    delivery = _rendered(outgoing.delivery, outgoing.notice.facts, addressee)
    is_new = delivery.text != outgoing.delivery.text
    return replace(outgoing, delivery=delivery, text_is_new=is_new)


def text_to_send(outgoing: Outgoing) -> str:
    """What the customer reads: the text, with the one-time code if there is one."""
    facts, code = outgoing.notice.facts, outgoing.delivery.secret_text
    if isinstance(facts, PhoneCode) and code is not None:
        locale = outgoing.delivery.locale
        return rendered_as_shipped(replace(facts, code=code), Channel.SMS, locale, "").text
    return outgoing.delivery.text


def with_texts(notice: Notice, addressee: Addressee) -> Notice:
    """A notice with the texts that would be sent now of what has not been sent."""
    deliveries = tuple(
        _rendered(delivery, notice.facts, addressee) for delivery in notice.deliveries
    )
    return replace(notice, deliveries=deliveries)


def _rendered(delivery: Delivery, facts: Facts | None, addressee: Addressee) -> Delivery:
    if delivery.text or facts is None:
        return delivery
    name, locale = addressee.display_name, addressee.locale
    text = rendered_as_shipped(facts, delivery.channel, locale, name)
    return replace(delivery, subject=text.subject, text=text.text, locale=shipped_locale(locale))
