"""The facts of notices about customers' phones: a code, and that the phone was changed. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from services.notify.domain.notices import Facts, NoticeKind
from services.notify.domain.phone_codes import CODE_DIGITS, CODE_LIFETIME, LINK_LIFETIME

CODE_LEFT_OUT = "*" * CODE_DIGITS
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PhoneCode:
    """The one-time code that proves a phone. It names nobody: the phone may be another person's."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_CODE
    code: str
    # The host of the page that waits for the code; empty: none is named.
    web_otp_host: str = ""
    # The phone that takes the place of the one that gets the code, masked; empty: that one itself.
    masked_phone: str = ""

    @property
    def minutes(self) -> int:
        """How long it is valid."""
        return CODE_LIFETIME // _MINUTE


def last_line(facts: Facts) -> str:
    """What phones read: the page that a code is for, where they offer to fill it in, and nowhere else.

    Source: wicg.github.io/sms-one-time-codes, "origin-bound one-time codes".
    """
    if isinstance(facts, PhoneCode) and facts.web_otp_host:
        return f"\n@{facts.web_otp_host} #{facts.code}"
    return ""


@dataclass(frozen=True, slots=True)
class PhoneChanged:
    """Another phone was bound. The one before is notified, without a name: it may have a new owner."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_CHANGED
    # The new phone, masked; empty: none is bound any more.
    masked_phone: str


@dataclass(frozen=True, slots=True)
class EmailLink:
    """The link that proves an e-mail address. It names nobody: the address may be another person's."""

    kind: ClassVar[NoticeKind] = NoticeKind.EMAIL_LINK
    link_uri: str

    @property
    def hours(self) -> int:
        """How long it is valid."""
        return LINK_LIFETIME // timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PhoneLapsed:
    """The phone is not proved any more; the notice goes by e-mail."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_LAPSED
    # The phone, masked.
    masked_phone: str


@dataclass(frozen=True, slots=True)
class PhoneChangePending:
    """Another phone was proved, and is bound at a time unless the owner of the present one objects."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_CHANGE_PENDING
    # The new phone, masked.
    masked_phone: str
    bind_time: datetime
    time_zone: str
