"""Charges, notices and mandates that fit together or do not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from services.payments.domain.charges import Charge
from services.payments.domain.consent import BillingMode, Mandate, Notice
from services.payments.domain.keys import (
    ChargeId,
    ChargeKey,
    CustomerId,
    CustomerKey,
    MandateId,
    MandateKey,
    MerchantId,
    PaymentMethodId,
)
from services.payments.domain.transitions import ChargeState

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
ANN = CustomerKey(MerchantId("acme"), CustomerId("ann"))
KEY = ChargeKey(*ANN, ChargeId("coffee-1"))
VISA = PaymentMethodId("visa")
MANDATE_KEY = MandateKey(*ANN, MandateId("coffee"))

CHARGE = Charge(
    *KEY,
    order_name="merchants/acme/standingOrders/coffee/orders/1",
    due_time=NOW,
    billing_mode=BillingMode.AUTOMATIC,
    amount_minor=1000,
    currency="EUR",
    mandate=MANDATE_KEY.name,
    title="Coffee",
    time_zone="Europe/Berlin",
    traceparent="",
    state=ChargeState.SCHEDULED,
    create_time=NOW,
    update_time=NOW,
    next_attempt_time=NOW,
)
REQUEST = CHARGE._replace(
    billing_mode=BillingMode.PAY_ON_NOTICE,
    mandate="",
    payment_method=VISA,
    expire_time=NOW + timedelta(days=1),
)
NOTICE = Notice(
    *KEY, "the notice", 1000, "EUR", NOW, NOW - timedelta(days=3), BillingMode.AUTOMATIC
)
MANDATE = Mandate(
    *MANDATE_KEY,
    payment_method=VISA,
    charge_ceiling_minor=1000,
    period_ceiling_minor=None,
    currency="EUR",
    valid_from_time=NOW,
    valid_until_time=None,
    evidence=b"Encrypted.",
    create_time=NOW,
)

amounts_minor = st.integers(1, 2000)
currencies = st.sampled_from(["EUR", "USD"])
# Around NOW, which each limit is compared with.
moments = st.integers(-2, 2).map(lambda hours: NOW + timedelta(hours=hours))

charges = st.builds(
    lambda amount_minor, currency, withdrawn: CHARGE._replace(
        amount_minor=amount_minor, currency=currency, withdrawn=withdrawn
    ),
    amounts_minor,
    currencies,
    st.booleans(),
)
notices = st.none() | st.builds(
    lambda amount_minor, currency, not_before, mode: replace(
        NOTICE,
        amount_minor=amount_minor,
        currency=currency,
        charge_not_before_time=not_before,
        billing_mode=mode,
    ),
    amounts_minor,
    currencies,
    moments,
    st.sampled_from(BillingMode),
)
mandates = st.none() | st.builds(
    lambda ceiling, month, currency, valid_from, valid_until, revoked: replace(
        MANDATE,
        charge_ceiling_minor=ceiling,
        period_ceiling_minor=month,
        currency=currency,
        valid_from_time=valid_from,
        valid_until_time=valid_until,
        revoke_time=revoked,
    ),
    amounts_minor,
    st.none() | st.integers(1, 4000),
    currencies,
    moments,
    st.none() | moments,
    st.none() | moments,
)
