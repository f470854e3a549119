"""Made-up data for a preview of each kind of notice."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.kinds import (
    DisputeClosed,
    DisputeOpened,
    ItemDiscontinued,
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
    Receipt,
    Refund,
    StandingOrderChanged,
)
from services.notify.domain.templates.phones import CODE_LEFT_OUT, PhoneChanged, PhoneCode
from services.notify.domain.templates.wording import Line, Template
from services.runtime.money import Money

_DUE = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
_MONTH_LATER = datetime(2026, 2, 28, 8, 0, tzinfo=UTC)
_AMOUNT = Money(1250, "EUR")
_PREVIOUS_AMOUNT = Money(1000, "EUR")
_TITLE, _ZONE = "Coffee for the office", "Europe/Berlin"
_LINES = (Line("Espresso, 1 kg", 1, _AMOUNT),)
EXAMPLE_DISPLAY_NAME = "Ann"

EXAMPLES: Mapping[NoticeKind, Template] = MappingProxyType({
    template.kind: template
    for template in (
        PhoneCode(CODE_LEFT_OUT),
        PhoneChanged("+49*******89"),
        OrderUpcoming(_TITLE, _ZONE, _AMOUNT, _PREVIOUS_AMOUNT, _DUE, pay_on_notice=False,
                      lines=_LINES),
        PaymentRequest(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=3)),
        PaymentActionRequired(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=1),
                              "https://bank.example/confirm/1"),
        PaymentReminder(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=3)),
        PaymentDeclined(_TITLE, _ZONE, _AMOUNT, _DUE + timedelta(days=1)),
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
        Refund(_TITLE, _PREVIOUS_AMOUNT, _AMOUNT),
        DisputeOpened(_TITLE, _AMOUNT, _AMOUNT, inquiry=False, paused=True),
        DisputeClosed(_TITLE, _AMOUNT, _AMOUNT, won=True, late_failure=False, paused=False),
    )
})  # fmt: skip
