"""How many segments the suite's own SMS take, of each kind in each language, with facts as they are."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import pytest

from services.notify.domain.notices import Channel, Facts, NoticeKind, Sender
from services.notify.domain.replies.hints import HINTED_KINDS
from services.notify.domain.replies.words import Reply, Word, read_reply, shown
from services.notify.domain.templates import kinds
from services.notify.domain.templates.examples import EXAMPLES
from services.notify.domain.templates.phones import PhoneCode
from services.notify.domain.templates.rendering import rendered_as_shipped
from services.notify.domain.templates.replies import Answer, ReplyAnswer
from services.notify.domain.templates.segments import segments
from services.notify.domain.templates.shipped import SHIPPED, reply_hint
from services.runtime.money import Money

SEGMENTS_MAX = 3
TITLES = {
    "en": "Coffee for the office", "de": "Kaffee fürs Büro", "es": "Café de la oficina",
    "fr": "Café du bureau", "zh": "办公室咖啡", "ar": "قهوة المكتب",
}  # fmt: skip
LINK = "https://shop.example/o/" + "x" * 20
# As India's rules want it: with the reference and whom to complain to.
WORDIEST_SENDER = Sender("Coffee Shop", "care@shop.example", "office-coffee/3")
SENDER = Sender("Coffee Shop")
NOT_BY_SMS = {NoticeKind.EMAIL_LINK, NoticeKind.PHONE_LAPSED, NoticeKind.DOCUMENT_ISSUED}


def facts_as_they_are(title: str) -> Iterator[Facts]:
    """One of each kind, and those that say most."""
    upcoming = EXAMPLES[NoticeKind.ORDER_UPCOMING]
    assert isinstance(upcoming, kinds.OrderUpcoming)
    due, zone = upcoming.charge_not_before, upcoming.time_zone
    later = due + timedelta(days=28)
    for kind, facts in EXAMPLES.items():
        if kind in NOT_BY_SMS:
            continue
        named = replace(facts, title=title) if hasattr(facts, "title") else facts  # type: ignore[type-var]
        yield named
        if hasattr(facts, "link_uri") and kind is not NoticeKind.STANDING_ORDER_CHANGED:
            yield replace(named, link_uri=LINK)  # type: ignore[type-var]
    yield PhoneCode("12345678", masked_phone="+49*******89")
    yield replace(upcoming, title=title, pay_on_notice=True, link_uri=LINK)
    yield replace(upcoming, title=title, due_time=later, previous_amount=None, link_uri=LINK)
    yield replace(upcoming, title=title, previous_amount=None, moved_from=date(2026, 1, 30))
    yield kinds.OrderHeld(title, zone, due, ("PAYMENT_DECLINED",), link_uri=LINK)
    yield kinds.OrderHeld(title, zone, due, ("PURCHASED_ELSEWHERE",), link_uri=LINK)
    yield kinds.PaymentDeclined(title, zone, Money(1250, "EUR"), later)
    yield kinds.StandingOrderChanged(title, zone, "PAUSED", None, later, link_uri=LINK)
    yield kinds.StandingOrderChanged(title, zone, "PAUSED", None, None, ("MANDATE_DISPUTED",), LINK)
    yield kinds.OrderSkipped(title, zone, due, ("MISSED",), later, 3)
    for answer in Answer:
        if answer is not Answer.WHICH:
            yield ReplyAnswer(answer, Word.PAY, title, due.date())


@pytest.mark.parametrize("locale", TITLES)
@pytest.mark.parametrize("takes_replies", [False, True], ids=["no-replies", "replies"])
@pytest.mark.parametrize("sender", [SENDER, WORDIEST_SENDER], ids=["plain", "wordiest"])
def test_no_sms_of_the_suite_takes_more_than_three_segments(
    locale: str, sender: Sender, *, takes_replies: bool
) -> None:
    who = sender._replace(takes_replies=takes_replies)
    texts = [
        rendered_as_shipped(facts, Channel.SMS, locale, "Ann", who).text
        for facts in facts_as_they_are(TITLES[locale])
    ]

    assert not [(it, segments(it)) for it in texts if segments(it).segment_count > SEGMENTS_MAX]


@pytest.mark.parametrize("locale", SHIPPED)
@pytest.mark.parametrize("word", Word)
def test_each_word_that_a_language_shows_is_read_as_what_it_stands_for(
    word: Word, locale: str
) -> None:
    assert read_reply(shown(word, locale)) == Reply(word)


@pytest.mark.parametrize("locale", SHIPPED)
@pytest.mark.parametrize("kind", sorted(HINTED_KINDS))
def test_where_customers_can_reply_an_sms_before_a_charge_says_how(
    kind: NoticeKind, locale: str
) -> None:
    facts = replace(EXAMPLES[kind], title=TITLES[locale])  # type: ignore[type-var]
    sms = [
        rendered_as_shipped(
            facts, Channel.SMS, locale, "", SENDER._replace(takes_replies=takes_replies)
        ).text
        for takes_replies in (True, False)
    ]

    assert [shown(Word.STOP, locale) in text for text in sms] == [True, False]


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (NoticeKind.ORDER_UPCOMING, "Reply SKIP, PAUSE or STOP (no more SMS)."),
        (NoticeKind.PAYMENT_REQUEST, "Reply PAY, PAUSE or STOP (no more SMS)."),
        (NoticeKind.RECEIPT, ""),
    ],
)
def test_a_notice_names_what_a_reply_to_it_can_do(kind: NoticeKind, hint: str) -> None:
    assert reply_hint("en", kind) == hint
