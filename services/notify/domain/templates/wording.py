"""How data become text: amounts, times, reasons, and a notice as an SMS and as an e-mail. Pure.

An SMS says everything that matters in at most SMS_MAX_CHARACTERS of the GSM 7-bit alphabet, as far as
names and titles are in it (3GPP TS 23.038). An e-mail says the same and adds the lines of the order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Protocol, runtime_checkable
from zoneinfo import ZoneInfo

from services.notify.domain.notices import NoticeKind
from services.runtime.money import Money, format_minor
from services.runtime.text import cut, one_line

SMS_MAX_CHARACTERS = 320
# Of a link in a message.
LINK_MAX_CHARACTERS = 180
_PPM_PER_PERCENT = 10_000
TITLE_MAX_CHARACTERS = 60
DISPLAY_NAME_MAX_CHARACTERS = 60
# Of the title of a substitute, and of what it is taken for.
REPLACED_MAX_CHARACTERS = 17
# Of a standing order's title where substitutes are named, too.
TITLE_SHORT_MAX_CHARACTERS = 36
# Of a product and a standing order where two amounts are named, too.
PRICE_TITLE_MAX_CHARACTERS = 30
# More reasons than fit into this are summed up.
REASONS_MAX_CHARACTERS = 75


@dataclass(frozen=True, slots=True)
class Line:
    """One product of an order."""

    title: str
    quantity: int
    amount: Money
    # The titles of what it is taken instead of.
    replaced: tuple[str, ...] = ()
    # The titles of promotions, and what each took off; negative.
    promotions: tuple[tuple[str, Money], ...] = ()


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax on an order."""

    title: str
    rate_ppm: int
    # What is charged of it.
    amount: Money
    # Why it is not charged, by the name that the catalog has for it; empty: it is.
    not_charged: str = ""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a notice says: a subject, sentences, and lines for channels that show them."""

    subject: str
    sentences: tuple[str, ...]
    lines: tuple[Line, ...]
    taxes: tuple[Tax, ...]
    # Whether the customer is addressed by name.
    greets: bool


def say(
    subject: str,
    *sentences: str,
    lines: tuple[Line, ...] = (),
    taxes: tuple[Tax, ...] = (),
    greets: bool = True,
) -> Wording:
    """What a notice says, without the sentences that are empty."""
    return Wording(subject, tuple(filter(None, sentences)), lines, taxes, greets)


@runtime_checkable
class Template(Protocol):
    """The data of one kind of notice, and its words."""

    @property
    def kind(self) -> NoticeKind:
        """What the notice is for."""

    def wording(self) -> Wording:
        """The data in words."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A notice as it goes out."""

    sms: str
    email_subject: str
    email: str


def render(template: Template, display_name: str) -> Texts:
    """A notice to somebody by that name; an empty name greets nobody in particular."""
    wording = template.wording()
    text = " ".join(wording.sentences)
    name = _clip(display_name, DISPLAY_NAME_MAX_CHARACTERS)
    greeting = f"Hi {name}" if name else "Hello"
    paragraphs = [f"{greeting},", *wording.sentences[:1]]
    if wording.lines:
        paragraphs.append("\n".join(_line(line) for line in wording.lines))
    if wording.taxes:
        paragraphs.append("\n".join(map(_tax, wording.taxes)))
    paragraphs.extend(wording.sentences[1:])
    return Texts(
        sms=f"{greeting}! {text}" if wording.greets else text,
        email_subject=wording.subject,
        email="\n\n".join(paragraphs) + "\n",
    )


# --- words for data ----------------------------------------------------------------------------


def money_text(amount: Money) -> str:
    """An amount with its currency, for example 12.50 EUR."""
    return format_minor(amount.amount_minor, amount.currency)


def time_text(moment: datetime, time_zone: str) -> str:
    """An instant where the customer is, for example Sat 31 Jan 2026, 09:00."""
    local = moment.astimezone(ZoneInfo(time_zone))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M}"


def date_text(moment: datetime, time_zone: str) -> str:
    """The date of an instant where the customer is, for example Sat 31 Jan 2026."""
    return time_text(moment, time_zone).partition(",")[0]


def day_text(day: date) -> str:
    """A civil date, for example Sat 31 Jan."""
    return f"{day:%a} {day.day} {day:%b}"


def reasons_text(reasons: tuple[str, ...]) -> str:
    """Why, in words, for the reasons' names."""
    known = {**REASONS, **MANDATE_REASONS}
    words = list(dict.fromkeys(known.get(reason, _REASON_UNKNOWN) for reason in reasons))
    text = " and ".join(words or [_REASON_UNKNOWN])
    if len(text) <= REASONS_MAX_CHARACTERS:
        return text
    return f"{words[0]} (and more)"


_REASON_UNKNOWN = "your account says why"

# scheduler's OrderReason in words.
REASONS: Mapping[str, str] = MappingProxyType({
    "SKIPPED_BY_CUSTOMER": "you asked to leave it out",
    "PAUSED": "the standing order is paused",
    "MISSED": "its date passed while we could not act",
    "DATE_EXCLUDED": "its date is one that you left out",
    "PRODUCT_UNAVAILABLE": "a product is not sold any more",
    "PRICE_UNAVAILABLE": "a product has no price",
    "OUT_OF_STOCK": "a product is out of stock",
    "PHONE_NOT_BOUND": "your phone is not confirmed",
    "MANDATE_NOT_COVERING": "your consent to be charged does not cover it",
    "NOTICE_UNDELIVERABLE": "we could not reach you to announce it",
    "PAYMENT_REFUSED": "the payment was not allowed",
    "PAYMENT_DECLINED": "the payment was declined",
    "PAYMENT_REQUEST_EXPIRED": "the payment was not confirmed in time",
    "STANDING_ORDER_CANCELLED": "the standing order is cancelled",
    "CONDITION_NOT_MET": "a condition that you set does not hold",
    "HOLD_EXPIRED": "what it waited for was not put right in time",
    "PURCHASED_ELSEWHERE": "you bought a product of it elsewhere",
    "PREVIOUS_UNPAID": "the order before it is not paid",
    "PAYMENT_NOT_MADE": "the payment could not be made in time",
    "PAYMENT_METHOD_BLOCKED": "its card was declined for good",
    "TAX_UNAVAILABLE": "its taxes are not known yet",
    "NO_SLOT": "no slot is free on its day",
    "PAID_LATE": "it was paid after it had ended",
})  # fmt: skip


# payments' RefusalReason of a mandate in words.
MANDATE_REASONS: Mapping[str, str] = MappingProxyType({
    "MANDATE_NOT_FOUND": "your consent to be charged is not known",
    "MANDATE_REVOKED": "your consent to be charged is withdrawn",
    "MANDATE_NOT_YET_VALID": "your consent to be charged is not valid yet",
    "MANDATE_EXPIRED": "your consent to be charged has expired",
    "ABOVE_CHARGE_CEILING": "it is above what you agreed to for one payment",
    "ABOVE_PERIOD_CEILING": "with other charges it is above what you agreed to",
    "CURRENCY_MISMATCH": "your consent to be charged is in another currency",
    "MANDATE_LAPSED": "your consent to be charged was not used for too long",
    "MANDATE_WITHOUT_END": "your consent to be charged has no last day, and needs one",
    "MANDATE_PENDING": "your consent to be charged is not confirmed yet",
    "MANDATE_DISPUTED": "a payment was disputed at your bank",
    "MANDATE_PAUSED": "your consent to be charged is paused",
})  # fmt: skip


def _line(line: Line) -> str:
    instead = f" (instead of {one_line(', '.join(line.replaced))})" if line.replaced else ""
    off = "".join(
        f" ({one_line(title)}: {money_text(amount)})" for title, amount in line.promotions
    )
    return f"{line.quantity} x {one_line(line.title)}{instead}: {money_text(line.amount)}{off}"


_NOT_CHARGED: Mapping[str, str] = MappingProxyType({
    "REVERSE_CHARGE": "reverse charge, the customer owes it",
    "EXEMPT": "exempt",
})  # fmt: skip


def _tax(tax: Tax) -> str:
    whole, rest = divmod(tax.rate_ppm, _PPM_PER_PERCENT)
    percent = f"{whole}.{rest:04d}".rstrip("0").rstrip(".")
    name = f"{one_line(tax.title)} {percent} %"
    if tax.not_charged:
        return f"{name}: {_NOT_CHARGED.get(tax.not_charged, _REASON_UNKNOWN)}"
    return f"{name} in it: {money_text(tax.amount)}"


def taxes_text(taxes: Sequence[Tax]) -> str:
    """What the taxes in an amount come to, short enough for an SMS; empty if there are none."""
    charged = [tax.amount for tax in taxes if tax.amount.amount_minor]
    if not charged:
        return ""
    total_minor = sum(amount.amount_minor for amount in charged)
    return f" (tax {money_text(Money(total_minor, charged[0].currency))})"


def substitutes_text(lines: Sequence[Line]) -> str:
    """What comes instead of what, short enough for an SMS; empty if nothing does."""
    replaced = [line for line in lines if line.replaced]
    if not replaced:
        return ""
    taken = _clip(replaced[0].title, REPLACED_MAX_CHARACTERS)
    missed = _clip(", ".join(replaced[0].replaced), REPLACED_MAX_CHARACTERS)
    more = f" (and {len(replaced) - 1} more)" if len(replaced) > 1 else ""
    return f"With {taken} for {missed}{more}."


def _clip(text: str, most_characters: int) -> str:
    return cut(one_line(text), most_characters)


def price_title(text: str) -> str:
    """A product's or a standing order's title where both are named with two amounts."""
    return _clip(text, PRICE_TITLE_MAX_CHARACTERS)


def title_text(text: str, *, short: bool = False) -> str:
    """What the customer calls a standing order, on one line and not too long."""
    return _clip(text, TITLE_SHORT_MAX_CHARACTERS if short else TITLE_MAX_CHARACTERS)
