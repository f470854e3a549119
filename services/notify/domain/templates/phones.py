"""What customers read about their phones: a code, and that the phone was changed. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from services.notify.domain.notices import NoticeKind
from services.notify.domain.phone_codes import CODE_DIGITS, CODE_LIFETIME
from services.notify.domain.templates.wording import Wording, say

CODE_LEFT_OUT = "*" * CODE_DIGITS
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PhoneCode:
    """The one-time code that proves a phone."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_CODE
    code: str

    def wording(self) -> Wording:
        """Names nobody: the phone may be another person's."""
        minutes = CODE_LIFETIME // _MINUTE
        return say(
            "Your code",
            f"{self.code} is your code to confirm this phone.",
            f"It is valid for {minutes} minutes.",
            "Tell it to nobody. If you did not ask for it, you need not do anything.",
            greets=False,
        )


@dataclass(frozen=True, slots=True)
class PhoneChanged:
    """Another phone was bound; goes to the one before."""

    kind: ClassVar[NoticeKind] = NoticeKind.PHONE_CHANGED
    # The new phone, masked.
    masked_phone: str

    def wording(self) -> Wording:
        """Names nobody: the phone may have a new owner."""
        return say(
            "Your phone was changed",
            f"Messages about your orders now go to {self.masked_phone}, not to this phone.",
            "If you did not change it, please tell the shop at once.",
            greets=False,
        )
