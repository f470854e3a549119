"""Made-up facts of each kind of notice: for previews, and to try templates with."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from services.notify.domain.notices import Facts, NoticeKind, Sender
from services.notify.domain.templates.kinds import (
    DisputeClosed,
    DisputeOpened,
    DocumentIssued,
    ItemDiscontinued,
    MonthlySummary,
    OrderCancelled,
    OrderHeld,
    OrderLapsed,
    OrderSkipped,
    OrderUpcoming,
    PaymentActionRequired,
    PaymentDeclined,
    PaymentMethodBlocked,
    PaymentMethodExpiring,
    PaymentOverdue,
    PaymentReminder,
    PaymentRequest,
    PriceChange,
    PriceChangeWithdrawn,
    PriceProtectionEnding,
    PromotionEnding,
    Receipt,
    Refund,
    StandingOrderChanged,
)
from services.notify.domain.templates.lines import Line, MonthTotal, Promotion, Tax
from services.notify.domain.templates.phones import (
    CODE_LEFT_OUT,
    EmailLink,
    PhoneChanged,
    PhoneChangePending,
    PhoneCode,
    PhoneLapsed,
)
from services.notify.domain.templates.replies import Answer, ReplyAnswer
from services.runtime.money import Money

_DUE = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
_MONTH_LATER = datetime(2026, 2, 28, 8, 0, tzinfo=UTC)
_AMOUNT = Money(1250, "EUR")
_PREVIOUS_AMOUNT = Money(1000, "EUR")
_TITLE, _ZONE = "Coffee for the office", "Europe/Berlin"
_LINES = (Line("Espresso, 1 kg", 1, _AMOUNT),)
EXAMPLE_DISPLAY_NAME = "Ann"
EXAMPLE_REFERENCE = "office-coffee/3"
EXAMPLE_SENDER = Sender("Coffee Shop", "care@shop.example", EXAMPLE_REFERENCE, takes_replies=True)
# Of an order.
LINES_MAX = 100

EXAMPLES: Mapping[NoticeKind, Facts] = MappingProxyType({
    facts.kind: facts
    for facts in (
        PhoneCode(CODE_LEFT_OUT),
        PhoneChanged("+49*******89"),
        EmailLink("https://shop.example/email?token=********"),
        PhoneLapsed("+49*******89"),
        PhoneChangePending("+49*******89", _DUE, _ZONE),
        OrderUpcoming(_TITLE, _ZONE, _AMOUNT, _PREVIOUS_AMOUNT, _DUE, pay_on_notice=False,
                      lines=_LINES),
        PaymentRequest(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=3)),
        PaymentActionRequired(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=1),
                              "https://bank.example/confirm/1"),
        PaymentReminder(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=3)),
        PaymentDeclined(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=1),
                        reasons=("INSUFFICIENT_FUNDS",)),
        PaymentOverdue(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=10)),
        PaymentMethodBlocked("visa", "4242"),
        PaymentMethodExpiring("visa", "4242", date(2026, 3, 1)),
        Receipt(_TITLE, _ZONE, _AMOUNT, _DUE, _MONTH_LATER, _LINES),
        OrderSkipped(_TITLE, _ZONE, _DUE, ("SKIPPED_BY_CUSTOMER",)),
        OrderHeld(_TITLE, _ZONE, _DUE, ("OUT_OF_STOCK",)),
        OrderLapsed(_TITLE, _ZONE, _DUE, ("PAYMENT_DECLINED",)),
        OrderCancelled(_TITLE, _ZONE, _DUE),
        StandingOrderChanged(_TITLE, _ZONE, "CREATED", _DUE),
        ItemDiscontinued(_TITLE, "Espresso, 1 kg", "Ristretto, 1 kg"),
        PriceChange("Espresso, 1 kg", _TITLE, _ZONE, _AMOUNT, _PREVIOUS_AMOUNT, _DUE),
        PriceChangeWithdrawn("Espresso, 1 kg", _TITLE, _PREVIOUS_AMOUNT),
        PriceProtectionEnding(_TITLE, _ZONE, _MONTH_LATER),
        PromotionEnding(_TITLE, _ZONE, "Spring", _MONTH_LATER, _AMOUNT, _PREVIOUS_AMOUNT),
        Refund(_TITLE, _PREVIOUS_AMOUNT, _AMOUNT),
        DocumentIssued(_TITLE, "INVOICE", "INV-2026-000042", _AMOUNT),
        DisputeOpened(_TITLE, _AMOUNT, _AMOUNT, inquiry=False, paused=True),
        DisputeClosed(_TITLE, _AMOUNT, _AMOUNT, won=True, late_failure=False, paused=False),
        MonthlySummary(date(2026, 1, 1), _ZONE,
                       (MonthTotal(3, Money(3750, "EUR"), _AMOUNT, Money(450, "EUR")),),
                       skip_count=1, next_due_time=_MONTH_LATER, next_title=_TITLE, next_more=1),
        ReplyAnswer(Answer.SKIPPED, "SKIP", _TITLE, _DUE.date()),
    )
})  # fmt: skip

# A template has to be short enough for these, too: an order of as many lines as there can be.
_LONG = "M" * 60
_MANY = tuple(
    Line(
        _LONG, 10_000, Money(10**12, "EUR"), (_LONG,), (Promotion(_LONG, Money(-(10**12), "EUR")),)
    )
    for _ in range(LINES_MAX)
)
_TAXES = tuple(Tax(_LONG, 190_000, Money(10**12, "EUR")) for _ in range(10))
LONGEST: Mapping[NoticeKind, tuple[Facts, ...]] = MappingProxyType({
    NoticeKind.ORDER_UPCOMING: (
        OrderUpcoming(_LONG, _ZONE, Money(10**14, "EUR"), _AMOUNT, _DUE, pay_on_notice=True,
                      lines=_MANY, due_time=_MONTH_LATER, taxes=_TAXES,
                      moved_from=date(2026, 3, 1)),
    ),
    NoticeKind.RECEIPT: (
        Receipt(_LONG, _ZONE, Money(10**14, "EUR"), _DUE, _MONTH_LATER, _MANY, taxes=_TAXES),
    ),
    NoticeKind.MONTHLY_SUMMARY: (
        MonthlySummary(date(2026, 9, 1), _ZONE,
                       tuple(MonthTotal(999, *(Money(10**13, currency),) * 3)
                             for currency in ("EUR", "USD")),
                       skip_count=999, has_more=True, next_due_time=_MONTH_LATER,
                       next_title=_LONG, next_more=99),
    ),
})  # fmt: skip
