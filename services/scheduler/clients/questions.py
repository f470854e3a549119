"""What is asked of the other services, and what they answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from recurring.catalog.v1 import catalog_pb2

from services.scheduler.domain.charge_rules import NO_RULES, ChargeRules
from services.scheduler.domain.ids import (
    MerchantId,
    OrderKey,
)
from services.scheduler.domain.order import (
    Item,
    Order,
    Quote,
)
from services.scheduler.domain.price_agreements import Agreed, PriceAgreement
from services.scheduler.domain.price_changes import Holding
from services.scheduler.domain.promotions import EndingPromotion
from services.scheduler.domain.slots import SlotDate
from services.scheduler.domain.substitution import Unpriced

# The most that one call may carry, by the contracts.
BATCH_MAX_ENTRIES = 500
# So many lines, with names and titles as long as they may be and four adjustments each, stay below the
# largest message.
BATCH_MAX_LINES = 1_500


@dataclass(frozen=True, slots=True)
class Cart:
    """What to price, for which cycle, at which instant."""

    key: OrderKey
    items: tuple[Item, ...]
    price_time: datetime
    # When the standing order is made, where its prices are not protected yet.
    sign_up_time: datetime | None = None
    # Where it goes: a country or its part, such as `DE` or `US-CA`; empty: unknown.
    region_code: str = ""
    # Empty: the one that all products have a price in.
    currency: str = ""
    # The customer's, where a business orders; empty: a consumer.
    tax_id: str = ""
    # How its prices are protected; None: they are not.
    agreement: PriceAgreement | None = None


@dataclass(frozen=True, slots=True)
class MandateQuestion:
    """Whether a mandate covers an amount at an instant."""

    mandate: str
    # The name of what is charged for.
    standing_order: str
    amount_minor: int
    currency: str
    charge_time: datetime
    # What rule packs ask of the charge; what is not known is not checked.
    rules: ChargeRules = NO_RULES

    @property
    def charge(self) -> "PlannedCharge":
        """What is charged if it does."""
        return PlannedCharge(self.charge_time, self.amount_minor, self.currency)


class MandateAnswer(NamedTuple):
    """Why a mandate does not cover an amount (empty: it does), and what it is charged by."""

    reasons: tuple[str, ...]
    # The payment scheme; empty: one that no rule pack is about.
    scheme: str
    # Whether what else is charged under it matters.
    has_period_ceiling: bool = False
    # How long before a charge its notice is delivered, as the customer was promised.
    lead: timedelta = timedelta()
    # What of the amount the customer's credit would pay, as things are.
    credit_minor: int = 0

    @property
    def counts(self) -> bool:
        """Whether its charge, which it covers, takes from what others can have."""
        return not self.reasons and (self.has_period_ceiling or self.credit_minor > 0)


# The resource name of a price version, or one that is not stored.
Version = str | catalog_pb2.DraftPrice


class PriceVersion(NamedTuple):
    """A version of a product's price."""

    merchant: MerchantId
    product: str
    currency: str
    effective_time: datetime
    version: Version


class PriceEffect(NamedTuple):
    """What the units of a product cost with a price version, and without it.

    What keeps the amount from rising holds up to a cycle (0: none), and before an instant.
    """

    amount_minor: int
    previous_minor: int
    currency: str
    held_through_cycle: int
    held_until_time: datetime | None
    # How many days before an increase its notice comes, at least and at most (0: no maximum).
    notice_min_days: int
    notice_max_days: int
    held_by: Holding | None


class SlotWish(NamedTuple):
    """An order whose services need slots on one of some days, the best one first."""

    order: Order
    dates: Sequence[SlotDate]
    expire_time: datetime
    order_stored: bool = True


class ProtectionAnswer(NamedTuple):
    """How the prices of a standing order are protected, or why they are not."""

    # By product (id).
    problems: Mapping[str, str]
    # Why its promotion cannot be redeemed, and its offer not accepted, as the catalog names it.
    promotion: str
    offer: str
    # What is protected; None: nothing.
    agreed: Agreed | None
    # What it has redeemed and ends; None: nothing.
    ending_promotion: EndingPromotion | None = None


class PlannedCharge(NamedTuple):
    """What is to be charged under a mandate, and has not been yet."""

    charge_time: datetime
    amount_minor: int
    currency: str


# By mandate, of those where it matters.
PlannedCharges = dict[str, list[PlannedCharge]]
# A quote, or why there is none.
QuoteAnswer = Quote | Unpriced
