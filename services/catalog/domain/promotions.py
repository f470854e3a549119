"""Promotions: what standing orders are given off that redeemed them at sign-up. Pure functions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, NewType

from services.catalog.domain.products import (
    MerchantId,
    ProductId,
    StandingOrderId,
    StandingOrderKey,
)

PromotionId = NewType("PromotionId", str)


class PromotionState(StrEnum):
    """Whether a promotion goes on."""

    ACTIVE = "ACTIVE"
    ENDED = "ENDED"


class PromotionFault(StrEnum):
    """Why a promotion cannot be redeemed."""

    PROMOTION_NOT_FOUND = "PROMOTION_NOT_FOUND"
    PROMOTION_ENDED = "PROMOTION_ENDED"
    PROMOTION_USED_UP = "PROMOTION_USED_UP"
    PROMOTION_CURRENCY_MISMATCH = "PROMOTION_CURRENCY_MISMATCH"
    PROMOTION_NOT_APPLICABLE = "PROMOTION_NOT_APPLICABLE"


class PromotionKey(NamedTuple):
    """Which promotion."""

    merchant: MerchantId
    promotion: PromotionId


class Discount(NamedTuple):
    """What a promotion takes off, and of which cycles and products."""

    promotion: PromotionId
    title: str
    # One of the two: a share of each line, or an amount of each order.
    percent_off_bps: int
    amount_off_minor: int
    # Of a standing order's cycles, from its first one on; 0: all.
    cycle_count: int
    # Only cycles due before; None: all.
    discount_until_time: datetime | None
    # Empty: all.
    products: Sequence[ProductId]

    def is_for(self, product: ProductId) -> bool:
        """Whether it takes something off a product."""
        return not self.products or product in self.products


@dataclass(frozen=True, slots=True)
class Promotion:
    """What is taken off, for whom, and how often."""

    merchant: MerchantId
    discount: Discount
    # Of the amount that is taken off; empty for a share.
    currency: str
    # Empty: for everybody who signs up without a code.
    code: str
    # 0: as many as want.
    redemption_limit: int
    # From then on nobody redeems it.
    end_time: datetime | None
    create_time: datetime
    redemption_count: int = 0
    state: PromotionState = PromotionState.ACTIVE
    version: int = 1

    @property
    def key(self) -> PromotionKey:
        """Which it is."""
        return PromotionKey(self.merchant, self.discount.promotion)


class Redeemed(NamedTuple):
    """A promotion that a standing order has redeemed."""

    discount: Discount
    # The first cycle of the standing order.
    first_cycle: int

    def is_on(self, cycle: int, at: datetime) -> bool:
        """Whether it takes something off a cycle that is due at an instant."""
        terms = self.discount
        in_time = terms.discount_until_time is None or at < terms.discount_until_time
        in_count = not terms.cycle_count or cycle < self.first_cycle + terms.cycle_count
        return in_time and in_count


class EndingPromotion(NamedTuple):
    """A promotion that a standing order has redeemed, and that ends."""

    merchant: MerchantId
    standing_order: StandingOrderId
    promotion: PromotionId
    title: str
    # The first cycle of the standing order, and of how many it takes something off; 0: of all.
    first_cycle: int
    cycle_count: int
    discount_until_time: datetime | None

    @property
    def last_cycle(self) -> int:
        """The last cycle that it takes something off; 0: it does not end by number."""
        return self.first_cycle + self.cycle_count - 1 if self.cycle_count else 0


class Redeeming(NamedTuple):
    """What came of promotions that new standing orders wanted to redeem."""

    # Why some cannot.
    faults: Mapping[StandingOrderKey, PromotionFault]
    endings: Mapping[StandingOrderKey, EndingPromotion]


class SignUp(NamedTuple):
    """A new standing order, and the code that it came with."""

    key: StandingOrderKey
    code: str
    products: Sequence[ProductId]
    currency: str
    first_cycle: int
    redeem_time: datetime


class Redemption(NamedTuple):
    """A standing order that redeems a promotion."""

    merchant: MerchantId
    standing_order: str
    promotion: PromotionId
    first_cycle: int
    redeem_time: datetime


def fault_of(promotion: Promotion, sign_up: SignUp, redemption_count: int) -> PromotionFault | None:
    """Why a standing order cannot redeem a promotion that so many have redeemed."""
    over = promotion.end_time is not None and promotion.end_time <= sign_up.redeem_time
    if over or promotion.state is PromotionState.ENDED:
        return PromotionFault.PROMOTION_ENDED
    if promotion.redemption_limit and redemption_count >= promotion.redemption_limit:
        return PromotionFault.PROMOTION_USED_UP
    if promotion.discount.amount_off_minor and promotion.currency != sign_up.currency:
        return PromotionFault.PROMOTION_CURRENCY_MISMATCH
    if not any(promotion.discount.is_for(product) for product in sign_up.products):
        return PromotionFault.PROMOTION_NOT_APPLICABLE
    return None


def redeem(
    sign_ups: Sequence[SignUp],
    promotions: Collection[Promotion],
    redeemed: Collection[StandingOrderKey],
) -> tuple[list[Redemption], dict[StandingOrderKey, PromotionFault]]:
    """Which promotion each new standing order redeems, first come first served, and who may not.

    `promotions` are those of the codes, and those without a code, of the merchants; `redeemed` are the
    standing orders that have redeemed one, which keep it. A code that cannot be redeemed is a fault; of
    the promotions without a code, the first by id that can be is.
    """
    counts = {promotion.key: promotion.redemption_count for promotion in promotions}
    redemptions: list[Redemption] = []
    faults: dict[StandingOrderKey, PromotionFault] = {}
    for sign_up in sign_ups:
        if sign_up.key in redeemed:
            continue
        fitting = sorted(
            (p for p in promotions if (p.merchant, p.code) == (sign_up.key.merchant, sign_up.code)),
            key=lambda promotion: promotion.key,
        )
        found = [fault_of(promotion, sign_up, counts[promotion.key]) for promotion in fitting]
        taken = next((p for p, fault in zip(fitting, found, strict=True) if fault is None), None)
        if taken is not None:
            counts[taken.key] += 1
            redemptions.append(
                Redemption(
                    *sign_up.key, taken.discount.promotion, sign_up.first_cycle, sign_up.redeem_time
                )
            )
        elif sign_up.code:
            (fault,) = found or [PromotionFault.PROMOTION_NOT_FOUND]
            faults[sign_up.key] = fault or PromotionFault.PROMOTION_NOT_FOUND
    return redemptions, faults


Redemptions = Mapping[StandingOrderKey, Redeemed]
