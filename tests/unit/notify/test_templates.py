# ruff: noqa: RUF001 - texts in many scripts
"""What customers read."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recurring.notify.v1 import notify_pb2
from recurring.scheduler.v1 import events_pb2, scheduler_pb2

from services.notify.domain.notices import Channel, Facts, NoticeKind, Sender
from services.notify.domain.replies.decisions import OPTIONS_MAX
from services.notify.domain.replies.words import Word
from services.notify.domain.templates import kinds
from services.notify.domain.templates.examples import EXAMPLES, LONGEST
from services.notify.domain.templates.language import language
from services.notify.domain.templates.lines import Line, MonthTotal, Tax
from services.notify.domain.templates.phones import PhoneCode
from services.notify.domain.templates.rendering import (
    SMS_SEGMENTS_MAX,
    UNNAMED,
    rendered_as_shipped,
)
from services.notify.domain.templates.replies import Answer, ReplyAnswer, ReplyOption
from services.notify.domain.templates.segments import GSM_7_ALPHABET, segments
from services.notify.domain.templates.shipped import SHIPPED
from services.notify.domain.templates.variables import Moment
from services.runtime.money import Money

DUE = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
TAXES = (Tax("VAT", 190_000, Money(10**14 - 1, "EUR")),)
BERLIN = "Europe/Berlin"
COFFEE = Money(1250, "EUR")

LANGUAGES = sorted(SHIPPED)
REASONS = sorted(SHIPPED["en"].words.reasons)
# Of an SMS in the alphabet of phones: each is paid for.
ENGLISH_SEGMENTS_MAX = 3

# Categories of Unicode that do something else than be seen.
STEERING = {"Cc", "Co", "Cs", "Zl", "Zp"}
names = st.text(max_size=90)
titles = st.text(min_size=1, max_size=90)
zones = st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"])
# A hundred items, ten thousand of each, at a million units a piece: more cannot be ordered.
amounts = st.builds(Money, st.integers(1, 10**14), st.sampled_from(["EUR", "JPY", "KWD", "USD"]))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
reasons = st.lists(st.sampled_from([*REASONS, "SOMETHING_NEW"]), max_size=6).map(tuple)
replaced = st.lists(titles, max_size=2).map(tuple)
lines = st.lists(
    st.builds(Line, titles, st.integers(1, 10_000), amounts, replaced), max_size=3
).map(tuple)
options = st.builds(
    ReplyOption, st.integers(1, OPTIONS_MAX), titles, st.none() | st.dates(), st.just("")
)
templates: st.SearchStrategy[Facts] = st.one_of(
    st.builds(PhoneCode, st.from_regex("[0-9]{8}", fullmatch=True)),
    st.builds(
        kinds.OrderUpcoming, titles, zones, amounts, st.none() | amounts, moments, st.booleans(),
        lines, st.none() | moments, credit=st.none() | amounts,
    ),
    st.builds(kinds.PaymentOverdue, titles, zones, amounts, moments),
    st.builds(kinds.PaymentRequest, titles, zones, amounts, moments),
    st.builds(kinds.PaymentDeclined, titles, zones, amounts, st.none() | moments),
    st.builds(
        kinds.Receipt, titles, zones, amounts, moments, st.none() | moments, lines,
        credit=st.none() | amounts,
    ),
    st.builds(
        kinds.OrderSkipped, titles, zones, moments, reasons, st.none() | moments,
        st.integers(2, 100),
    ),
    st.builds(kinds.OrderHeld, titles, zones, moments, reasons),
    st.builds(kinds.OrderLapsed, titles, zones, moments, reasons),
    st.builds(kinds.OrderCancelled, titles, zones, moments, st.booleans()),
    st.builds(
        kinds.StandingOrderChanged, titles, zones,
        st.sampled_from([*events_pb2.StandingOrderChanged.Change.keys(), "9"]),
        st.none() | moments, st.none() | moments, reasons,
    ),
    st.builds(kinds.ItemDiscontinued, titles, titles, titles | st.just("")),
    st.builds(kinds.Refund, titles, amounts, amounts),
    st.builds(
        kinds.PriceChange, titles, titles, zones, amounts, amounts, moments, st.integers(0, 99)
    ),
    st.builds(kinds.PriceChangeWithdrawn, titles, titles, amounts, st.integers(0, 99)),
    st.builds(kinds.PriceProtectionEnding, titles, zones, moments),
    st.builds(
        kinds.PromotionEnding, titles, zones, titles, moments, st.none() | amounts,
        st.none() | amounts,
    ),
    st.builds(
        kinds.MonthlySummary, st.dates(), zones,
        st.lists(
            st.builds(MonthTotal, st.integers(0, 999), amounts, amounts, amounts),
            max_size=kinds.CURRENCIES_MAX,
        ).map(tuple),
        st.integers(0, 999), st.booleans(), moments, titles, st.integers(0, 99),
    ),
    st.builds(
        ReplyAnswer, st.sampled_from(Answer), st.sampled_from(Word), titles, st.none() | st.dates(),
        st.lists(options, max_size=OPTIONS_MAX).map(tuple),
    ),
)  # fmt: skip


def upcoming(
    title: str, amount: Money, previous: Money | None, when: datetime, *, pay_on_notice: bool
) -> kinds.OrderUpcoming:
    return kinds.OrderUpcoming(title, BERLIN, amount, previous, when, pay_on_notice, ())


@dataclass(frozen=True)
class Said:
    """A notice on both channels."""

    sms: str
    email_subject: str
    email: str


# As much as a merchant can have an SMS say of it; no reference is longer.
LONGEST_SENDER = Sender("W" * 30, "W" * 60, f"{'w' * 63}/99999")


def render(facts: Facts, name: str, locale: str = "en", sender: Sender = UNNAMED) -> Said:
    email = rendered_as_shipped(facts, Channel.EMAIL, locale, name, sender)
    sms = rendered_as_shipped(facts, Channel.SMS, locale, name, sender)
    return Said(sms.text, email.subject, email.text)


@given(
    template=templates,
    name=names,
    locale=st.sampled_from(LANGUAGES),
    sender=st.sampled_from([UNNAMED, LONGEST_SENDER]),
)
def test_an_sms_is_never_too_long(template: Facts, name: str, locale: str, sender: Sender) -> None:
    said = render(template, name, locale, sender)
    assert 1 <= segments(said.sms).segment_count <= SMS_SEGMENTS_MAX


def test_the_wordiest_sms_is_not_too_long_either() -> None:
    late = datetime(2099, 9, 30, 8, 0, tzinfo=UTC)
    most, nearly = Money(10**14, "EUR"), Money(10**14 - 1, "EUR")
    long = "W" * 60
    wordy: list[Facts] = [
        *(upcoming(long, most, nearly, late, pay_on_notice=paying) for paying in (True, False)),
        *(
            replace(upcoming(long, most, nearly, late, pay_on_notice=paying), credit=nearly)
            for paying in (True, False)
        ),
        kinds.PaymentRequest(long, BERLIN, most, late),
        kinds.PaymentOverdue(long, BERLIN, most, late),
        kinds.PaymentDeclined(long, BERLIN, most, late),
        kinds.PaymentDeclined(long, BERLIN, most, None),
        kinds.Receipt(long, BERLIN, most, late, late, (), taxes=TAXES),
        kinds.Receipt(long, BERLIN, most, late, late, (), taxes=TAXES, credit=nearly),
        kinds.Refund(long, nearly, most),
        *(
            kinds.DisputeOpened(long, nearly, most, inquiry, paused)
            for inquiry in (True, False)
            for paused in (True, False)
        ),
        *(
            kinds.DisputeClosed(long, nearly, most, won, late, paused)
            for won in (True, False)
            for late in (True, False)
            for paused in (True, False)
        ),
        *(ReplyAnswer(answer, Word.SKIP, long, late.date()) for answer in Answer),
        ReplyAnswer(
            Answer.WHICH, Word.SKIP, options=(ReplyOption(1, long, late.date(), ""),) * OPTIONS_MAX
        ),
        kinds.ItemDiscontinued(long, long, long),
        kinds.PriceChange(long, long, BERLIN, most, nearly, late, 99),
        kinds.PriceChangeWithdrawn(long, long, most, 99),
        kinds.PriceProtectionEnding(long, BERLIN, late),
        kinds.PromotionEnding(long, BERLIN, long, late, most, nearly),
        *(
            kinds.StandingOrderChanged(long, BERLIN, change, late, resume)
            for change, _ in events_pb2.StandingOrderChanged.Change.items()
            for resume in (None, late)
        ),
        *(
            kind(long, BERLIN, late, (first, second))
            for kind in (kinds.OrderSkipped, kinds.OrderHeld, kinds.OrderLapsed)
            for first in REASONS
            for second in REASONS
        ),
    ]
    texts = [render(template, long).sms for template in wordy]

    assert [t for t in texts if segments(t).segment_count > ENGLISH_SEGMENTS_MAX] == []


@given(
    make=st.sampled_from([
        lambda amount: upcoming("Coffee", amount, None, DUE, pay_on_notice=False),
        lambda amount: kinds.PaymentRequest("Coffee", BERLIN, amount, DUE),
        lambda amount: kinds.PaymentDeclined("Coffee", BERLIN, amount, None),
        lambda amount: kinds.Receipt("Coffee", BERLIN, amount, DUE, None, ()),
        lambda amount: kinds.Refund("Coffee", amount, amount),
        lambda amount: kinds.DisputeOpened("Coffee", amount, amount, inquiry=False, paused=True),
    ]),
    amount=amounts,
    name=names,
)  # fmt: skip
def test_a_notice_about_money_names_the_amount_on_every_channel(
    make: Callable[[Money], Facts], amount: Money, name: str
) -> None:
    texts = render(make(amount), name)

    assert language("en").money(amount) in texts.sms
    assert language("en").money(amount) in texts.email


@given(template=templates, name=names)
def test_a_subject_and_an_sms_stay_on_one_line(template: Facts, name: str) -> None:
    texts = render(template, name)

    for text in (texts.sms, texts.email_subject):
        assert not {unicodedata.category(character) for character in text} & STEERING


def test_a_name_of_any_script_arrives_as_it_was_given() -> None:
    name, title = "ශ්\u200dරී", "می\u200cخواهم"
    texts = render(kinds.PaymentDeclined(title, BERLIN, Money(100, "EUR"), None), name)

    assert name in texts.sms
    assert title in texts.sms


def test_a_long_title_is_cut_between_characters() -> None:
    family = "👨\u200d👩\u200d👧\u200d👦"
    texts = render(kinds.PaymentDeclined(family * 70, BERLIN, Money(100, "EUR"), None), "")

    for text in (texts.sms, texts.email):
        _, _, title = text.partition(" EUR for ")
        shown, _, _ = title.partition("...")
        assert shown
        assert not shown.replace(family, "")


@pytest.mark.parametrize("kind", NoticeKind)
def test_our_own_words_fit_the_alphabet_of_phones(kind: NoticeKind) -> None:
    assert set(render(EXAMPLES[kind], "Ann").sms) <= GSM_7_ALPHABET


def test_all_kinds_of_the_contract_have_an_example() -> None:
    assert set(EXAMPLES) == set(notify_pb2.NoticeKind.keys()[1:])


@pytest.mark.parametrize("locale", LANGUAGES)
def test_a_language_has_words_for_every_kind_and_every_reason(locale: str) -> None:
    words = SHIPPED[locale].words

    assert set(words.kinds) == set(NoticeKind)
    assert set(words.reasons) == (
        set(scheduler_pb2.OrderReason.keys()[1:])
        | kinds.MANDATE_REASONS
        | set(kinds.DECLINE_REASONS.values())
    )


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("kind", [*LONGEST])
def test_the_longest_order_fits_in_every_language(kind: NoticeKind, locale: str) -> None:
    for facts in LONGEST[kind]:
        assert segments(render(facts, "Ann", locale).sms).segment_count <= SMS_SEGMENTS_MAX
        assert "10" in render(facts, "Ann", locale).email


# As long as a merchant's page can make it.
LINK = "https://" + "shop.example/".ljust(67, "x") + "abcdefghijkmnpqrstuv"
WITH_LINK = [
    upcoming("Coffee", COFFEE, Money(1000, "EUR"), DUE, pay_on_notice=False),
    kinds.Receipt("Coffee", BERLIN, COFFEE, DUE, DUE, ()),
    kinds.OrderHeld("Coffee", BERLIN, DUE, ("OUT_OF_STOCK",)),
    kinds.OrderHeld("Coffee", BERLIN, DUE, ("CONDITION_NOT_MET",), customer_asked=True),
    kinds.StandingOrderChanged("Coffee", BERLIN, "PAUSED", None),
    kinds.StandingOrderChanged("Coffee", BERLIN, "PAUSED", None, DUE),
    kinds.PriceChange("Tea", "Coffee", BERLIN, COFFEE, Money(1000, "EUR"), DUE),
    kinds.PromotionEnding("Coffee", BERLIN, "Spring", DUE, COFFEE, Money(1000, "EUR")),
]


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("facts", WITH_LINK, ids=lambda facts: type(facts).__name__)
def test_who_can_act_is_given_the_link_in_every_language(facts: Any, locale: str) -> None:  # noqa: ANN401
    said = render(replace(facts, link_uri=LINK), "Ann", locale)

    # As a word of its own, so that phones make it a link.
    assert LINK in said.sms.split()
    assert LINK in said.email.split()
    assert segments(said.sms).segment_count <= SMS_SEGMENTS_MAX
    assert LINK not in render(facts, "Ann", locale).sms


def held(*reasons: str) -> str:
    return sms(kinds.OrderHeld("Coffee", BERLIN, DUE, reasons))


def test_a_reason_without_words_refers_to_the_account() -> None:
    assert "is on hold: your account says why." in held("SOMETHING_NEW")


def test_two_reasons_are_both_named() -> None:
    assert "a product is out of stock and a product has no price." in held(
        "OUT_OF_STOCK", "PRICE_UNAVAILABLE"
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Money(1250, "EUR"), "12.50 EUR"),
        (Money(5, "EUR"), "0.05 EUR"),
        (Money(1250, "JPY"), "1,250 JPY"),
        (Money(1250, "KWD"), "1.250 KWD"),
        (Money(-5, "EUR"), "-0.05 EUR"),
    ],
)
def test_an_amount_reads_as_people_write_it(amount: Money, text: str) -> None:
    assert language("en").money(amount) == text


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlin", "Sat 31 Jan 2026, 09:00"),
        ("Asia/Kathmandu", "Sat 31 Jan 2026, 13:45"),
        ("Pacific/Honolulu", "Fri 30 Jan 2026, 22:00"),
    ],
)
def test_a_time_is_that_of_the_customer(zone: str, text: str) -> None:
    assert str(Moment(DUE, zone, language("en"))) == text


def sms(template: Any) -> str:  # noqa: ANN401 - any template
    return render(template, "Ann").sms


def test_a_price_that_changed_is_compared_with_the_one_before() -> None:
    risen = upcoming("Coffee", COFFEE, Money(1000, "EUR"), DUE, pay_on_notice=False)

    assert "12.50 EUR (was 10.00 EUR last time)" in sms(risen)


def test_a_price_that_stayed_is_not_compared() -> None:
    same = upcoming("Coffee", COFFEE, COFFEE, DUE, pay_on_notice=False)

    assert "last time" not in sms(same)


def test_who_pays_on_notice_is_notified_of_a_request_and_not_of_a_charge() -> None:
    request = upcoming("Coffee", COFFEE, None, DUE, pay_on_notice=True)

    assert "We will ask you to confirm it on Sat 31 Jan 2026, 09:00 or later." in sms(request)
    assert "charge" not in sms(request)


def test_a_decline_that_is_tried_again_says_when() -> None:
    again = datetime(2026, 2, 1, 8, 0, tzinfo=UTC)

    assert "We will try again on Sun 1 Feb 2026, 09:00." in sms(
        kinds.PaymentDeclined("Coffee", BERLIN, COFFEE, again)
    )


def test_a_hold_that_the_customer_can_end_asks_for_it() -> None:
    held = kinds.OrderHeld("Coffee", BERLIN, DUE, ("MANDATE_NOT_COVERING",))

    assert "Please put it right in your account." in sms(held)


def test_a_hold_that_ends_by_itself_asks_for_nothing() -> None:
    held = kinds.OrderHeld("Coffee", BERLIN, DUE, ("OUT_OF_STOCK",))

    assert "We look at it again by ourselves." in sms(held)


def test_part_of_a_payment_given_back_is_named_as_part() -> None:
    assert sms(kinds.Refund("Coffee", Money(500, "EUR"), COFFEE)).startswith(
        "Hi Ann! We refunded 5.00 EUR of your payment of 12.50 EUR for Coffee."
    )


def test_a_code_greets_nobody_by_name() -> None:
    assert "Ann" not in sms(PhoneCode("12345678"))


def test_who_has_no_name_is_greeted_by_email_alone() -> None:
    said = render(kinds.OrderCancelled("Coffee", BERLIN, DUE), "")

    assert said.sms.startswith("Your order Coffee")
    assert said.email.startswith("Hello,")


def test_a_substitute_is_named_with_what_it_is_taken_for() -> None:
    line = Line("Chicory", 2, COFFEE, ("Espresso",))
    receipt = render(kinds.Receipt("Coffee", BERLIN, COFFEE, DUE, None, (line,)), "Ann")
    upcoming = render(
        kinds.OrderUpcoming(
            "Coffee", BERLIN, COFFEE, None, DUE, pay_on_notice=False, lines=(line,)
        ),
        "Ann",
    )
    for texts in (receipt, upcoming):
        assert "With Chicory for Espresso." in texts.sms
        assert "2 x Chicory (instead of Espresso): " in texts.email


def test_a_receipt_says_which_taxes_are_in_it() -> None:
    taxes = (
        Tax("VAT", 190_000, Money(200, "EUR")),
        Tax("City tax", 8750, Money(11, "EUR")),
        Tax("Eco tax", 0, Money(0, "EUR"), "EXEMPT"),
    )
    receipt = render(kinds.Receipt("Coffee", BERLIN, COFFEE, DUE, None, (), taxes=taxes), "Ann")
    assert "You paid 12.50 EUR (tax 2.11 EUR) for Coffee on" in receipt.sms
    assert (
        "VAT 19 % included: 2.00 EUR\nCity tax 0.875 % included: 0.11 EUR\nEco tax 0 %: exempt\n"
    ) in receipt.email


def test_what_a_business_owes_by_itself_is_named_and_not_summed_up() -> None:
    taxes = (Tax("VAT", 200_000, Money(0, "EUR"), "REVERSE_CHARGE"),)
    receipt = render(kinds.Receipt("Coffee", BERLIN, COFFEE, DUE, None, (), taxes=taxes), "Ann")
    assert "(tax" not in receipt.sms
    assert "VAT 20 %: reverse charge, the customer owes it" in receipt.email


def test_a_pause_by_itself_says_why() -> None:
    paused = kinds.StandingOrderChanged(
        "Coffee", BERLIN, "PAUSED", None, None, ("PRODUCT_UNAVAILABLE",)
    )
    assert "is paused: a product is not sold any more." in render(paused, "Ann").sms


def test_a_mail_lists_the_lines_of_the_order() -> None:
    receipt = kinds.Receipt("Coffee", BERLIN, COFFEE, DUE, None, (Line("Espresso", 2, COFFEE),))

    assert render(receipt, "Ann").email == (
        "Hi Ann,\n\n"
        "You paid 12.50 EUR for Coffee on Sat 31 Jan 2026, 09:00. Thank you.\n\n"
        "2 x Espresso: 12.50 EUR\n\n"
        "This was the last order.\n"
    )


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("de", "Hallo Ann! Wir haben Ihnen Ihre Zahlung über 1.250,00 EUR für Tee erstattet."),
        ("de-AT", "Ihre Zahlung über EUR 1.250,00 für Tee"),
        ("fr", "Bonjour Ann. Nous vous avons remboursé votre paiement de 1 250,00 EUR pour Tee."),
        ("es", "Hola, Ann. Le hemos reembolsado su pago de 1.250,00 EUR por Tee."),
        ("zh", "Ann，您好！我们已退还您为Tee支付的 EUR 1,250.00。"),
        # What is written from left to right is kept apart, so that nothing around it changes places.
        (
            "ar",
            "مرحبا \u2068Ann\u2069! أعدنا إليكم المبلغ المدفوع 1,250.00 EUR مقابل \u2068Tee\u2069.",
        ),
        ("sv", "Hi Ann! We refunded your payment of 1,250.00 EUR for Tee."),
        ("en-US", "Hi Ann! We refunded your payment of EUR 1,250.00 for Tee."),
    ],
)
def test_a_customer_reads_their_own_language_or_english(locale: str, text: str) -> None:
    paid = Money(125_000, "EUR")

    assert text in render(kinds.Refund("Tee", paid, paid), "Ann", locale).sms


@pytest.mark.parametrize(
    ("count", "text"), [(2, "طلبيكم"), (3, "طلباتكم الـ3"), (11, "طلباتكم الـ11")]
)
def test_a_number_has_the_form_that_its_language_has_for_it(count: int, text: str) -> None:
    skipped = kinds.OrderSkipped("Tee", BERLIN, DUE, ("MISSED",), DUE, count)

    assert text in render(skipped, "", "ar").sms
