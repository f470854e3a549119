"""The facts of notices about customers' phones: a code, and that the phone was changed. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.notify.domain.notices import NoticeKind
from services.notify.domain.phone_codes import CODE_DIGITS, CODE_LIFETIME

CODE_LEFT_OUT = "*" * CODE_DIGITS
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PhoneCode:
    """The one-time code that proves a phone. It names nobody: the phone may be another person's."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_CODE
    code: str

    @property
    def minutes(self) -> int:
        """How long it is valid."""
        return CODE_LIFETIME // _MINUTE


@dataclass(frozen=True, slots=True)
class PhoneChanged:
    """Another phone was bound. The one before is notified, without a name: it may have a new owner."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_CHANGED
    # The new phone, masked.
    masked_phone: str
