"""The rule packs that come with the catalog: facts, each with its source."""

from datetime import date

from services.catalog.domain.rule_packs import (
    OWN,
    ConfirmationAbove,
    DebitNoticeContent,
    DebitNoticeLead,
    Element,
    MandateLapse,
    MandateTerms,
    OfferEndNotice,
    PaymentScheme,
    PriceIncreaseNotice,
    ReceiptContent,
    RefundRight,
    Reminder,
    RetryLimit,
    Rule,
    RulePack,
    RulePackId,
    ordered,
)

_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS
_EUROPEAN_UNION = frozenset({
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
})  # fmt: skip

# --- India -------------------------------------------------------------------------------------------

# The framework of 2019 was to be kept from 1 October 2021 on, and was replaced on 21 April 2026.
_RBI_2019 = "RBI, Processing of e-mandate on cards for recurring transactions, 21 August 2019"
_RBI_2022 = "RBI, Processing of e-mandates for recurring transactions, 16 June 2022"
_RBI_2026 = "RBI, Digital Payments - E-mandate Framework, 2026, 21 April 2026"
_RBI_KEPT = date(2021, 10, 1)
_RBI_15_000 = date(2022, 6, 16)
_RBI_REPLACED = date(2026, 4, 21)
_RBI_NOTICE = DebitNoticeContent((
    Element.MERCHANT_NAME, Element.AMOUNT, Element.DATE, Element.REFERENCE, Element.REASON,
    Element.OPT_OUT,
))  # fmt: skip
_RBI_RECEIPT = ReceiptContent((
    Element.MERCHANT_NAME, Element.AMOUNT, Element.DATE, Element.REFERENCE, Element.REASON,
    Element.GRIEVANCE_CONTACT,
))  # fmt: skip

_RBI = RulePack(
    RulePackId("in-rbi-e-mandate"),
    "E-mandates of the Reserve Bank of India",
    frozenset({"IN"}),
    frozenset(),
    ordered(
        (
            Rule(
                "confirmation",
                ConfirmationAbove(5_000_00, "INR"),
                _RBI_2019,
                _RBI_KEPT,
                _RBI_15_000,
            ),
            Rule(
                "confirmation",
                ConfirmationAbove(15_000_00, "INR"),
                _RBI_2022,
                _RBI_15_000,
                _RBI_REPLACED,
            ),
            Rule("confirmation", ConfirmationAbove(15_000_00, "INR"), _RBI_2026, _RBI_REPLACED),
            *(
                Rule(rule_id, requirement, source, start_date, end_date)
                for rule_id, requirement in (
                    ("debit-notice-content", _RBI_NOTICE),
                    ("debit-notice-lead", DebitNoticeLead(_DAY_SECONDS)),
                    ("mandate-terms", MandateTerms(maximum=True, validity=True)),
                    ("receipt-content", _RBI_RECEIPT),
                )
                for source, start_date, end_date in (
                    (_RBI_2019, _RBI_KEPT, _RBI_REPLACED),
                    (_RBI_2026, _RBI_REPLACED, None),
                )
            ),
        )
    ),
)

# --- payment schemes ---------------------------------------------------------------------------------

_EPC = "EPC016-06, SEPA Direct Debit Core Scheme Rulebook"

_SEPA = RulePack(
    RulePackId("sepa-core"),
    "SEPA Direct Debit Core",
    frozenset(),
    frozenset({PaymentScheme.SEPA_DIRECT_DEBIT}),
    (
        Rule(
            "debit-notice-lead",
            DebitNoticeLead(14 * _DAY_SECONDS),
            f"{_EPC}: pre-notification, 14 calendar days before the due date",
        ),
        Rule(
            "mandate-lapse",
            MandateLapse(36),
            f"{_EPC}: a mandate that was not used for 36 months must not be used any more",
        ),
        Rule(
            "refund-right", RefundRight(56), f"{_EPC}: refund of an authorised debit, eight weeks"
        ),
    ),
)

_VISA_OFFERS = "Visa, policy for subscription merchants with trials or introductory offers"
_VISA_20 = date(2025, 5, 19)

_VISA = RulePack(
    RulePackId("visa"),
    "Visa",
    frozenset(),
    frozenset({PaymentScheme.VISA}),
    (
        Rule(
            "offer-end-notice", OfferEndNotice(7, 0), f"{_VISA_OFFERS}, in force from 18 April 2020",
            date(2020, 4, 18),
        ),
        Rule(
            "price-increase-notice",
            PriceIncreaseNotice(7, 0),
            f"{_VISA_OFFERS}: a changed price, in force from 18 April 2020",
            date(2020, 4, 18),
        ),
        Rule(
            "retry-limit", RetryLimit(15, 30 * 24), "Visa, reattempts of declined transactions",
            None, _VISA_20,
        ),
        Rule(
            "retry-limit",
            RetryLimit(20, 30 * 24),
            "Visa, reattempts of declined transactions, as changed on 19 May 2025",
            _VISA_20,
        ),
    ),
)  # fmt: skip

_MASTERCARD = RulePack(
    RulePackId("mastercard"),
    "Mastercard",
    frozenset(),
    frozenset({PaymentScheme.MASTERCARD}),
    (
        Rule(
            "receipt-content",
            ReceiptContent((Element.HOW_TO_CANCEL,)),
            "Mastercard, standards for trials and subscriptions, in force from 12 April 2019",
            date(2019, 4, 12),
        ),
        Rule(
            "retry-limit-of-a-day",
            RetryLimit(10, 24),
            "Mastercard, Transaction Processing Excellence: excessive authorization attempts",
        ),
        Rule(
            "retry-limit-of-a-month",
            RetryLimit(35, 30 * 24),
            "Mastercard, Transaction Processing Excellence: excessive authorization attempts",
        ),
    ),
)

# --- consumers ---------------------------------------------------------------------------------------

_EU = RulePack(
    RulePackId("eu-consumers"),
    "Consumers in the European Union",
    _EUROPEAN_UNION,
    frozenset(),
    (
        # The month is the law of electronic communications. For other contracts the annex of
        # Directive 93/13/EEC asks for reasonable notice, and a month is taken as that.
        Rule(
            "price-increase-notice",
            PriceIncreaseNotice(30, 0),
            "Directive (EU) 2018/1972, article 105(4); Directive 93/13/EEC, annex, 2(b)",
            date(2020, 12, 21),
        ),
    ),
)

_ARL = "California Business and Professions Code, section 17602"
_AB_2863 = date(2025, 7, 1)

_CALIFORNIA = RulePack(
    RulePackId("us-ca-automatic-renewal"),
    "Automatic renewals in California",
    frozenset({"US-CA"}),
    frozenset(),
    (
        Rule(
            "offer-end-notice", OfferEndNotice(3, 21), f"{_ARL}, as amended by AB 390 of 2021",
            date(2022, 7, 1),
        ),
        Rule(
            "price-increase-notice", PriceIncreaseNotice(7, 30),
            f"{_ARL}, as amended by AB 2863 of 2024", _AB_2863,
        ),
        Rule("reminder", Reminder(12), f"{_ARL}, as amended by AB 2863 of 2024", _AB_2863),
    ),
)  # fmt: skip

_OF_THE_MERCHANT = RulePack(OWN, "The merchant's own rules", frozenset(), frozenset(), ())

# By id.
RULE_PACKS = {
    pack.id: pack
    for pack in sorted(
        (_RBI, _SEPA, _VISA, _MASTERCARD, _EU, _CALIFORNIA, _OF_THE_MERCHANT), key=lambda it: it.id
    )
}
