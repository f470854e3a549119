"""The proof that a phone is its owner's. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.notify.domain.notices import NoticeKey
from services.notify.domain.sms_prices import MICROS_PER_UNIT, SmsPrices, money_to_micros
from services.notify.domain.transitions import PHONE_CODE, CodeEvent, CodeState
from services.runtime.money import Money

CODE_DIGITS = 8
CODE_LIFETIME = timedelta(minutes=5)
CODE_WRONG_MAX = 5
# Of a link by e-mail.
LINK_LIFETIME = timedelta(hours=24)
# As many for one customer, whatever the numbers, and to one number, whosever customers they are for.
CODES_MAX = 5
# As many for one merchant's customers to numbers that differ in their last three digits only.
CODES_TO_PREFIX_MAX = 20
CODES_MAX_PERIOD = timedelta(hours=1)
MASK = "•"
# "+49" and the last two digits show the owner which phone it is, and nobody else.
_SHOWN_START_CHARACTERS = 3
_SHOWN_END_CHARACTERS = 2


DEFAULT_PRICES = SmsPrices("EUR", MICROS_PER_UNIT // 10)


@dataclass(frozen=True, slots=True)
class CodeBudget:
    """How many codes may be sent for one merchant's customers, and what they may cost."""

    # In an hour and in a day of UTC.
    hour_max: int = 100
    day_max: int = 1000
    # Of them, in any hour, those that one caller asks for.
    caller_hour_max: int = 60
    # What the codes of a day cost at most, in the currency of the prices.
    day_spend_max_micros: int = 100 * MICROS_PER_UNIT
    prices: SmsPrices = DEFAULT_PRICES

    def with_merchants_own(self, spend_day_max: Money | None) -> "CodeBudget":
        """The budget of a merchant, who may want to spend less than the operator allows."""
        if spend_day_max is None or spend_day_max.currency != self.prices.currency:
            return self
        own = money_to_micros(spend_day_max)
        return replace(self, day_spend_max_micros=min(own, self.day_spend_max_micros))


DEFAULT_BUDGET = CodeBudget()


class Spent(NamedTuple):
    """What a merchant has spent on codes, one that is about to be sent among them."""

    hour_count: int
    day_count: int
    day_micros: int


def exceeded_period(spent: Spent, budget: CodeBudget) -> timedelta | None:
    """The period of UTC whose budget a code would exceed, the longer one first; None if it fits."""
    if spent.day_count > budget.day_max or spent.day_micros > budget.day_spend_max_micros:
        return timedelta(days=1)
    return timedelta(hours=1) if spent.hour_count > budget.hour_max else None


class CodePurpose(StrEnum):
    """What a code is for."""

    # The phone that it went to becomes the bound one.
    BIND = "BIND"
    # The phone that is bound agrees to be replaced.
    RELEASE = "RELEASE"
    # The e-mail address that its link went to is proved.
    EMAIL = "EMAIL"


@dataclass(frozen=True, slots=True)
class PhoneCode:
    """A one-time code that was sent to a phone and has not been used or voided."""

    # The message that it was sent by.
    notice: NoticeKey
    purpose: CodePurpose
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
