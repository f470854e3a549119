"""The kinds of notices: what docs/notices.md says of each is how it goes out, and what it says."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import combining, normalize

import pytest

from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.domain.rule_packs import (
    DebitNoticeContent,
    Element,
    ReceiptContent,
    Requirement,
)
from services.notify.domain.notices import (
    Channel,
    CustomerId,
    CustomerKey,
    Facts,
    MerchantId,
    NoticeKind,
    channels,
    new_contact,
)
from services.notify.domain.templates.examples import EXAMPLE_SENDER, EXAMPLES
from services.notify.domain.templates.language import Language, language
from services.notify.domain.templates.rendering import TITLE_MAX_CHARACTERS, rendered_as_shipped
from services.notify.domain.templates.segments import plain
from services.notify.domain.templates.shipped import SHIPPED
from services.notify.domain.templates.variables import Moment
from services.runtime.money import Money
from services.runtime.text import cut

PAGE = Path(__file__).resolve().parents[3] / "docs" / "notices.md"
NOW = datetime(2026, 1, 28, 8, 0, tzinfo=UTC)
ANN = new_contact(CustomerKey(MerchantId("acme"), CustomerId("ann")), NOW)._replace(
    phone="+491701234567",
    email="ann@shop.example",
)
BOTH = (Channel.SMS, Channel.EMAIL)
# What the page calls the channels of a kind -> how it goes out by itself; None: it has ways of its own.
CHANNELS = {
    "SMS and e-mail": BOTH,
    "SMS or e-mail": (Channel.SMS,),
    "e-mail": (Channel.EMAIL,),
    "SMS": (Channel.SMS,),
    "the phone and e-mail of before": BOTH,
}
# They go to the phone or the address that they are about.
OWN_WAYS = {
    NoticeKind.PHONE_CODE, NoticeKind.PHONE_CHANGED, NoticeKind.PHONE_CHANGE_PENDING,
    NoticeKind.PHONE_LAPSED, NoticeKind.EMAIL_LINK, NoticeKind.REPLY,
}  # fmt: skip
ISOLATES = dict.fromkeys(map(ord, "\u2068\u2069"))
SPACES = re.compile(r"\s+")


class Row(NamedTuple):
    """What the page says of a kind."""

    kind: NoticeKind
    channels: str
    can_be_muted: bool
    says: tuple[str, ...]


def rows() -> Iterator[Row]:
    section = PAGE.read_text().split("## Kinds\n")[1].split("\n## ")[0].split("\n### ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 5 and cells[1].strip() in NoticeKind.__members__:
            _, kind, goes_by, muted, says = cells
            yield Row(
                NoticeKind(kind), goes_by, muted == "yes", tuple(re.findall(r"`(\w+)`", says))
            )


ROWS = list(rows())


def test_the_page_has_every_kind_once() -> None:
    assert sorted(row.kind for row in ROWS) == sorted(NoticeKind)


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind not in OWN_WAYS])
def test_a_kind_goes_by_the_channels_of_the_page(row: Row) -> None:
    assert channels(row.kind, ANN, NOW) == CHANNELS[row.channels]


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind not in OWN_WAYS])
def test_a_kind_can_be_muted_as_the_page_says(row: Row) -> None:
    muted = ANN._replace(phone="", email_muted=True)

    assert (channels(row.kind, muted, NOW) == ()) == row.can_be_muted


@pytest.mark.parametrize("locale", sorted(SHIPPED))
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_a_kind_says_what_the_page_says_in_each_language(row: Row, locale: str) -> None:
    facts = EXAMPLES[row.kind]
    for channel in {"SMS": (Channel.SMS,), "e-mail": (Channel.EMAIL,)}.get(row.channels, BOTH):
        text = said(facts, channel, locale)
        for name in row.says:
            forms = set(forms_of(getattr(facts, name), facts, locale))
            assert any(folded(form) in text for form in forms), (channel, name, forms, text)


@pytest.mark.parametrize("locale", sorted(SHIPPED))
@pytest.mark.parametrize("kind", sorted(NoticeKind))
def test_a_kind_says_who_writes_in_each_language(kind: NoticeKind, locale: str) -> None:
    merchant, contact, reference, _ = EXAMPLE_SENDER
    sms, email = (said(EXAMPLES[kind], channel, locale) for channel in BOTH)

    assert sms.lstrip("【\u200f").startswith(merchant)
    assert folded(merchant) in email
    assert contact in email
    assert reference in email


def wanted_by(requirement: Requirement) -> Iterator[tuple[NoticeKind, Element]]:
    """What a rule has the notices of kinds say."""
    match requirement:
        case DebitNoticeContent(elements):
            yield from ((NoticeKind.ORDER_UPCOMING, element) for element in elements)
        case ReceiptContent(elements):
            yield from ((NoticeKind.RECEIPT, element) for element in elements)


WANTED = sorted(
    (pack.id, kind, element)
    for pack in RULE_PACKS.values()
    for rule in pack.rules
    for kind, element in wanted_by(rule.requirement)
)
# By which fact a kind says when it is about.
DATES = {NoticeKind.ORDER_UPCOMING: "charge_not_before", NoticeKind.RECEIPT: "pay_time"}
LINK = "https://shop.example/o/abcdefgh"


@pytest.mark.parametrize("channel", BOTH)
@pytest.mark.parametrize("locale", sorted(SHIPPED))
@pytest.mark.parametrize(("pack", "kind", "element"), WANTED)
def test_a_notice_says_what_rule_packs_want_on_it(
    pack: str, kind: NoticeKind, element: Element, locale: str, channel: Channel
) -> None:
    facts: Any = replace(EXAMPLES[kind], link_uri=LINK)  # type: ignore[type-var]
    merchant, contact, reference, _ = EXAMPLE_SENDER
    values: dict[Element, Any] = {
        Element.MERCHANT_NAME: merchant,
        Element.REFERENCE: reference,
        Element.GRIEVANCE_CONTACT: contact,
        Element.OPT_OUT: LINK,
        Element.HOW_TO_CANCEL: LINK,
        Element.AMOUNT: facts.amount,
        # What it is for.
        Element.REASON: facts.title,
        Element.DATE: getattr(facts, DATES[kind]),
    }
    value = values[element]
    of_sender = {merchant, reference, contact, LINK}
    forms = {value} if value in of_sender else set(forms_of(value, facts, locale))
    text = said(facts, channel, locale)

    assert any(folded(form) in text for form in forms), (pack, text)


@pytest.mark.parametrize("locale", sorted(SHIPPED))
@pytest.mark.parametrize("channel", BOTH)
def test_whoever_names_nothing_leaves_no_gap(channel: Channel, locale: str) -> None:
    text = rendered_as_shipped(EXAMPLES[NoticeKind.RECEIPT], channel, locale, "Ann").text

    assert text == text.strip(" :-\n") + ("\n" if channel is Channel.EMAIL else "")
    assert "office-coffee" not in text


def said(facts: Facts, channel: Channel, locale: str) -> str:
    text = rendered_as_shipped(facts, channel, locale, "Ann", EXAMPLE_SENDER).text
    return folded(text)


def folded(text: str) -> str:
    """Without marks of direction, kinds of spaces and accents, which are other tests'."""
    bare = "".join(it for it in normalize("NFKD", text) if not combining(it))
    return SPACES.sub(" ", plain(bare).translate(ISOLATES))


def forms_of(value: Any, facts: Facts, locale: str) -> Iterator[str]:  # noqa: ANN401
    """How a fact may be written in a language."""
    written: Language = language(locale)
    if isinstance(value, Money):
        yield written.money(value)
    elif isinstance(value, datetime):
        local = Moment(value, getattr(facts, "time_zone", "UTC"), written).local
        yield written.moment(local)
        yield from forms_of(local.date(), facts, locale)
    elif isinstance(value, date):
        yield from (written.date(value), written.day(value), written.month(value))
    elif isinstance(value, tuple):
        yield written.listed([SHIPPED[locale].words.reasons[reason] for reason in value])
    else:
        # Titles are cut where a text leaves an SMS no more room.
        yield cut(str(value), TITLE_MAX_CHARACTERS[-1]).removesuffix("...")
