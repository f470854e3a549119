"""Rows of what protects the prices of standing orders."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.increase_notices import Announcement
from services.catalog.domain.offers import Offer, OfferKey
from services.catalog.domain.products import (
    MerchantId,
    PriceId,
    ProductId,
    StandingOrderId,
    StandingOrderKey,
)
from services.catalog.domain.promotions import Discount, PromotionId, Redeemed
from services.catalog.domain.protections import OfferId, Protection, ProtectionKey
from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.store import rule_packs
from services.catalog.store.offers import offer_of_json
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _SignedUpRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    # None: nothing is known of a product.
    product: ProductId | None
    sign_up_price: PriceId
    sign_up_time: datetime
    # None: no promotion was redeemed.
    first_cycle: int | None
    promotion: PromotionId
    title: str
    percent_off_bps: int
    amount_off_minor: int
    currency: str
    cycle_count: int
    discount_until_time: datetime | None
    products: tuple[ProductId, ...]
    notified_prices: Sequence[PriceId]
    notified_announcements: Sequence[datetime]
    notified_times: Sequence[datetime]
    added_rules: str | None
    # A row of the offer that protects it, as JSON; None: none does.
    offer_row: str | None


_INSERT_PROTECTIONS = Query(
    """
    INSERT INTO protections (merchant, standing_order, product, sign_up_price, sign_up_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:product AS text[]),
        CAST(:sign_up_price AS text[]), CAST(:sign_up_time AS timestamptz[]))
    ON CONFLICT (standing_order, merchant, product) DO NOTHING
    RETURNING merchant, standing_order, product
    """,
    ProtectionKey,
)

# One statement for what was agreed at sign-up: a row a product with the promotion beside it, and a row
# without a product where there is a promotion only. With what the customer was notified of, and
# what their merchant has added to rule packs.
_SIGNED_UP = Query(
    """
    SELECT merchant, standing_order, product, sign_up_price, sign_up_time, redemptions.first_cycle,
           promotions.promotion, promotions.title, percent_off_bps,
           amount_off_minor, currency, cycle_count, discount_until_time, products,
           notified_prices, notified_announcements, notified_times, added_rules, offer_row
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:offer AS text[]))
      AS wanted (merchant, standing_order, accepted)
    LEFT JOIN protections USING (merchant, standing_order)
    LEFT JOIN redemptions USING (merchant, standing_order)
    -- OFFSET has each promotion looked up by its key, not all of them joined.
    LEFT JOIN LATERAL (
        SELECT promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
               discount_until_time, products
        FROM promotions
        WHERE merchant = redemptions.merchant AND promotion = redemptions.promotion
        OFFSET 0) AS promotions ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(price), '{}') AS notified_prices,
               coalesce(array_agg(announce_time), '{}') AS notified_announcements,
               coalesce(array_agg(deliver_time), '{}') AS notified_times
        FROM price_notices
        WHERE price_notices.standing_order = protections.standing_order
          AND price_notices.merchant = protections.merchant
          AND price_notices.product = protections.product) AS notified
    LEFT JOIN (
        SELECT merchant, jsonb_agg(jsonb_build_array(rule_pack, extra_regions, rules::text, version)
                                   ORDER BY rule_pack)::text AS added_rules
        FROM rule_packs
        WHERE merchant = ANY (CAST(:merchant AS text[]))
          AND rule_pack = ANY (CAST(:rule_packs AS text[]))
        GROUP BY merchant) AS added USING (merchant)
    LEFT JOIN LATERAL (
        SELECT to_jsonb(offers)::text AS offer_row FROM price_protection_offers AS offers
        WHERE accepted <> '' AND offers.merchant = wanted.merchant AND offers.offer = accepted
        OFFSET 0) AS accepted_offers ON true
    WHERE product IS NOT NULL OR redemptions.promotion IS NOT NULL
    """,
    _SignedUpRow,
)


_INSERT_NOTICES = Command("""
    INSERT INTO price_notices (merchant, standing_order, product, price, announce_time,
                               deliver_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:product AS text[]),
        CAST(:price AS text[]), CAST(:announce_time AS timestamptz[]),
        CAST(:deliver_time AS timestamptz[]))
    ON CONFLICT (standing_order, merchant, product, price, announce_time) DO NOTHING
""")


class PriceNotice(NamedTuple):
    """That the customer of a standing order was notified of a price."""

    merchant: MerchantId
    standing_order: StandingOrderId
    product: ProductId
    price: PriceId
    # When it was announced, as the customer's notice said.
    announce_time: datetime
    deliver_time: datetime


async def insert_notices(tx: Connection, notices: Sequence[PriceNotice]) -> None:
    """Remember who was notified of prices; the first time counts."""
    await _INSERT_NOTICES.run_for(tx, notices)


async def insert_protections(tx: Connection, wanted: Sequence[Protection]) -> set[ProtectionKey]:
    """Remember what standing orders signed up to; returns which are new. What is known stays."""
    return set(await _INSERT_PROTECTIONS.all_for(tx, wanted))


class Accepted(NamedTuple):
    """A standing order, and an offer that it accepted; empty: none."""

    merchant: MerchantId
    standing_order: StandingOrderId
    offer: OfferId


async def signed_up(
    tx: Connection, standing_orders: Iterable[Accepted]
) -> tuple[
    dict[ProtectionKey, Protection], dict[StandingOrderKey, Redeemed], dict[OfferKey, Offer]
]:
    """What standing orders signed up to, the promotions that they redeemed, and their offers."""
    protections: dict[ProtectionKey, Protection] = {}
    redemptions: dict[StandingOrderKey, Redeemed] = {}
    offer_rows: set[str] = set()
    for row in await _SIGNED_UP.all_for(tx, set(standing_orders), rule_packs=list(RULE_PACKS)):
        if row.offer_row is not None:
            offer_rows.add(row.offer_row)
        if row.product is not None:
            key = ProtectionKey(row.merchant, row.standing_order, row.product)
            protections[key] = _protection(key, row)
        standing_order = StandingOrderKey(row.merchant, row.standing_order)
        if row.first_cycle is not None and standing_order not in redemptions:
            redemptions[standing_order] = _redeemed(row, row.first_cycle)
    offers = [offer_of_json(json.loads(row)) for row in offer_rows]
    return protections, redemptions, {offer.key: offer for offer in offers}


def _protection(key: ProtectionKey, row: _SignedUpRow) -> Protection:
    announcements = map(Announcement, row.notified_prices, row.notified_announcements)
    notified = dict(zip(announcements, row.notified_times, strict=True))
    rules = rule_packs.merchant_rules(row.merchant, row.added_rules or "[]")
    return Protection(*key, row.sign_up_price, row.sign_up_time, notified=notified, rules=rules)


def _redeemed(row: _SignedUpRow, first_cycle: int) -> Redeemed:
    """What of a promotion decides about a quote."""
    discount = Discount(
        row.promotion,
        row.title,
        row.percent_off_bps,
        row.amount_off_minor,
        row.cycle_count,
        row.discount_until_time,
        row.products,
    )
    return Redeemed(discount, first_cycle)
