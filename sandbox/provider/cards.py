"""The cards that exist here, and what their networks and issuers change about them.

Most names are, as those of Stripe's test cards, tokens for a new payment method each time. Two are one
payment method each: it is charged again and again while it is a customer's, and once if it is nobody's.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime

from aiohttp import web

from sandbox.record import Record, bad_request

MONTHS = 12
AUTHENTICATION_REQUIRED = "authentication_required"
DECLINE_FIRST_ATTEMPT = "pm_sandbox_declineFirstAttempt"
TIMEOUT_AFTER_CHARGE = "pm_sandbox_timeoutAfterCharge"
TIMEOUT_BEFORE_CHARGE = "pm_sandbox_timeoutBeforeCharge"
WRONG_AMOUNT = "pm_sandbox_answersWrongAmount"
WRONG_CURRENCY = "pm_sandbox_answersWrongCurrency"
FOREIGN_PAYMENT = "pm_sandbox_answersForeignPayment"
REFUND_WRONG_AMOUNT = "pm_sandbox_refundsWrongAmount"


@dataclass(frozen=True)
class Card:
    """A test card and what its issuer says to a charge: a decline code, or None for approval."""

    brand: str
    last4: str
    decline_code: str | None = None
    exp_month: int = 12
    exp_year: int = 2099
    # As Stripe names the type of a payment method.
    kind: str = "card"
    # Whose it is at the provider, who wants both named in a charge.
    customer: str | None = None
    # One payment method, and no token for a new one each time.
    is_one: bool = False
    advice_code: str | None = None
    # Its holder has to confirm each payment (3-D Secure).
    authenticated: bool = False
    # Its holder disputes each payment at once, for this reason.
    dispute_reason: str | None = None
    # What they do is only an inquiry.
    inquiry: bool = False

    def is_expired(self, unix_time: int) -> bool:
        """Whether its last month is over at a time."""
        end = datetime(
            self.exp_year + self.exp_month // MONTHS, self.exp_month % MONTHS + 1, 1, tzinfo=UTC
        )
        return self.kind == "card" and unix_time >= end.timestamp()


CARDS = {
    "pm_card_visa": Card("visa", "4242"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_authenticationRequired": Card("visa", "3184", authenticated=True),
    "pm_card_chargeDeclined": Card("visa", "0002", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Card("visa", "9995", "insufficient_funds"),
    "pm_card_chargeDeclinedLostCard": Card("visa", "9987", "lost_card"),
    "pm_card_chargeDeclinedExpiredCard": Card("visa", "0069", "expired_card"),
    "pm_card_createDispute": Card("visa", "0259", dispute_reason="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Card(
        "visa", "2685", dispute_reason="product_not_received"
    ),
    "pm_card_createDisputeInquiry": Card("visa", "1976", dispute_reason="fraudulent", inquiry=True),
    DECLINE_FIRST_ATTEMPT: Card("visa", "7001"),
    TIMEOUT_AFTER_CHARGE: Card("visa", "7002"),
    TIMEOUT_BEFORE_CHARGE: Card("visa", "7003"),
    WRONG_AMOUNT: Card("visa", "7004"),
    WRONG_CURRENCY: Card("visa", "7005"),
    FOREIGN_PAYMENT: Card("visa", "7006"),
    REFUND_WRONG_AMOUNT: Card("visa", "7007"),
    "pm_sandbox_ofCustomer": Card("visa", "7008", customer="cus_sandbox", is_one=True),
    "pm_sandbox_ofNobody": Card("visa", "7009", is_one=True),
    "pm_sandbox_sepaDebit": Card("", "3000", kind="sepa_debit"),
}
DECLINE_MESSAGES = {
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    AUTHENTICATION_REQUIRED: "Your card was declined. This transaction requires authentication.",
}
# A card that is valid until the end of a month, and one that is declined for a reason.
_EXPIRING = re.compile(r"pm_sandbox_expires(?P<year>20[0-9]{2})(?P<month>0[1-9]|1[0-2])")
_DECLINED = re.compile(r"pm_sandbox_declines_(?P<code>[a-z_]{1,60})")
_CHANGEABLE = frozenset({"exp_month", "exp_year", "decline_code", "advice_code", "customer"})


def name_of(token: str, card: Card) -> str:
    """The payment method that a token stands for."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return token if card.is_one else f"pm_{digest[:24]}"


def is_detached(token: str, card: Card) -> bool:
    """Whether it was a customer's, and is nobody's now."""
    return card.customer is None and token in CARDS and CARDS[token].customer is not None


class Cards:
    """What tokens stand for. Who calls the route renews cards and changes their issuers' minds."""

    def __init__(self, record: Record) -> None:
        self._record = record
        rows = record.read("SELECT token, changes FROM provider_cards")
        self._changes = {str(row["token"]): json.loads(row["changes"]) for row in rows}

    def get(self, token: str) -> Card | None:
        """The card of a token; None if there is none."""
        card = CARDS.get(token)
        if match := _EXPIRING.fullmatch(token):
            month, year = int(match["month"]), int(match["year"])
            card = Card("visa", "7010", exp_month=month, exp_year=year)
        elif match := _DECLINED.fullmatch(token):
            card = Card("visa", "7011", match["code"])
        return None if card is None else replace(card, **self._changes.get(token, {}))

    def routes(self) -> list[web.RouteDef]:
        """The route by which a network updates a card, and an issuer declines it or stops doing so."""

        async def put(request: web.Request) -> web.Response:
            token = request.match_info["token"]
            try:
                changes = dict(await request.json())
            except (ValueError, TypeError):
                changes = {}
            if self.get(token) is None or not changes or not set(changes) <= _CHANGEABLE:
                raise bad_request(f"body: give any of {', '.join(sorted(_CHANGEABLE))} of a card")
            if changes.get("customer") is not None and not _is_attachable(token):
                raise bad_request("body: only what is one card and was nobody's can be attached")
            kept = self._changes.get(token, {}) | changes
            if not _is_card(replace(CARDS["pm_card_visa"], **kept)):
                raise bad_request("body: give numbers of a month and a year, and codes or null")
            statement = "INSERT OR REPLACE INTO provider_cards (token, changes) VALUES (?, ?)"
            await self._record.execute(statement, token, json.dumps(kept))
            self._changes[token] = kept
            return web.json_response(kept)

        return [web.put("/provider/cards/{token}", put)]


def _is_attachable(token: str) -> bool:
    """Whether it is one payment method that was never a customer's."""
    return token in CARDS and CARDS[token].is_one and CARDS[token].customer is None


def _is_card(card: Card) -> bool:
    numbers = type(card.exp_month) is int and type(card.exp_year) is int
    codes = all(code is None or type(code) is str for code in (card.decline_code, card.advice_code))
    return numbers and codes and 1 <= card.exp_month <= MONTHS and card.exp_year < MAXYEAR
