"""Merchants' own templates: which one a notice is written by. Pure."""

from collections.abc import Collection
from typing import NamedTuple, NewType

from services.notify.domain.locales import canonical_locale, fallbacks
from services.notify.domain.notices import Channel, MerchantId, NoticeKind

TemplateId = NewType("TemplateId", str)


class TemplateKey(NamedTuple):
    """Which template of a merchant."""

    merchant: MerchantId
    template: TemplateId


class Purpose(NamedTuple):
    """What a template is for, as its id says."""

    kind: NoticeKind
    channel: Channel
    locale: str


class OwnTemplate(NamedTuple):
    """A version of a merchant's own template."""

    merchant: MerchantId
    template: TemplateId
    version: int
    kind: NoticeKind
    channel: Channel
    locale: str
    # Of an e-mail.
    subject: str
    text: str
    # Whether it is for customers, too, in whose language the merchant has none.
    is_fallback: bool

    @property
    def key(self) -> TemplateKey:
        """Which template it is a version of."""
        return TemplateKey(self.merchant, self.template)


# Codes and links that prove something, and what answers a customer, are the suite's business.
SUITE_ALONE = frozenset({NoticeKind.PHONE_CODE, NoticeKind.EMAIL_LINK, NoticeKind.REPLY})


def purpose_of(template: TemplateId) -> Purpose | None:
    """What `order-upcoming-sms-de-at` is for; None if the id names no kind, channel and language."""
    for kind in NoticeKind:
        for channel in Channel:
            prefix = f"{kind}-{channel}-".lower().replace("_", "-")
            tag = template.removeprefix(prefix)
            if tag == template or kind in SUITE_ALONE:
                continue
            locale = canonical_locale(tag)
            if locale and locale.lower() == tag:
                return Purpose(kind, channel, locale)
    return None


def chosen(
    templates: Collection[OwnTemplate], kind: NoticeKind, channel: Channel, locale: str
) -> OwnTemplate | None:
    """The template in the nearest language, else a fallback, else None: then the suite's own words."""
    fitting = [each for each in templates if (each.kind, each.channel) == (kind, channel)]
    for nearest in fallbacks(locale):
        for template in fitting:
            if template.locale == nearest:
                return template
    by_id = sorted(fitting, key=lambda template: template.template)
    return next((template for template in by_id if template.is_fallback), None)
