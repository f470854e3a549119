"""The proof that a phone is its owner's. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.notify.domain.notices import NoticeKey
from services.notify.domain.transitions import PHONE_CODE, CodeEvent, CodeState

CODE_DIGITS = 8
CODE_LIFETIME = timedelta(minutes=5)
CODE_WRONG_MAX = 5
# As many for one customer, whatever the numbers, and to one number, whosever customers they are for.
CODES_MAX = 5
# As many for one merchant's customers to numbers that differ in their last three digits only.
CODES_TO_PREFIX_MAX = 20
CODES_MAX_PERIOD = timedelta(hours=1)
MASK = "•"
# "+49" and the last two digits show the owner which phone it is, and nobody else.
_SHOWN_START_CHARACTERS = 3
_SHOWN_END_CHARACTERS = 2


@dataclass(frozen=True, slots=True)
class CodeBudget:
    """How many codes may be sent for one merchant's customers, in an hour and in a day (UTC)."""

    hour_max: int
    day_max: int


DEFAULT_BUDGET = CodeBudget(hour_max=100, day_max=1000)


@dataclass(frozen=True, slots=True)
class PhoneCode:
    """A one-time code that was sent to a phone and has not been used or voided."""

    # The message that it was sent by.
    notice: NoticeKey
    phone: str
    # Under a key of the deployment's: eight digits alone are guessed from a stolen row at once.
    code_hash: bytes
    wrong_count: int
    expire_time: datetime


class CodeCheck(StrEnum):
    """What became of a code that somebody gave; the failures are the reasons that callers get."""

    RIGHT = "RIGHT"
    CODE_NOT_PENDING = "CODE_NOT_PENDING"
    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_WRONG = "CODE_WRONG"


def check_code(pending: PhoneCode | None, now: datetime, *, matches: bool) -> CodeCheck:
    """Whether a code, which matches the hash or not, proves the phone that it was sent to."""
    if pending is None:
        return CodeCheck.CODE_NOT_PENDING
    if now >= pending.expire_time:
        return CodeCheck.CODE_EXPIRED
    if not matches:
        return CodeCheck.CODE_WRONG
    return CodeCheck.RIGHT


def after_miss(pending: PhoneCode) -> CodeState:
    """The state of a code after a wrong guess at it; the last one allowed voids it."""
    last = pending.wrong_count + 1 >= CODE_WRONG_MAX
    return PHONE_CODE.to(CodeState.PENDING, CodeEvent.VOID if last else CodeEvent.MISS)


def mask_phone(phone: str) -> str:
    """A phone number with all but its ends hidden; empty for none."""
    hidden = len(phone) - _SHOWN_START_CHARACTERS - _SHOWN_END_CHARACTERS
    if hidden <= 0:
        return MASK * len(phone)
    return phone[:_SHOWN_START_CHARACTERS] + MASK * hidden + phone[-_SHOWN_END_CHARACTERS:]
