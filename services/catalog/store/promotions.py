"""Rows of promotions, and of who redeemed them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from services.catalog.domain.products import (
    MerchantId,
    ProductId,
    StandingOrderId,
    StandingOrderKey,
)
from services.catalog.domain.promotions import (
    Discount,
    EndingPromotion,
    Promotion,
    PromotionId,
    PromotionKey,
    PromotionState,
    Redemption,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar


class Released(NamedTuple):
    """What a standing order had redeemed and gave back."""

    merchant: MerchantId
    promotion: PromotionId
    standing_order: StandingOrderId


class _PromotionRow(NamedTuple):
    merchant: MerchantId
    promotion: PromotionId
    title: str
    percent_off_bps: int
    amount_off_minor: int
    currency: str
    cycle_count: int
    discount_until_time: datetime | None
    code: str
    products: list[ProductId]
    redemption_limit: int
    end_time: datetime | None
    create_time: datetime
    redemption_count: int
    state: PromotionState
    version: int


_INSERT = Query(
    """
    INSERT INTO promotions (
        merchant, promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
        discount_until_time, code, products, redemption_limit, end_time, create_time
    ) VALUES (
        :merchant, :promotion, :title, :percent_off_bps, :amount_off_minor, :currency, :cycle_count,
        :discount_until_time, :code, :products, :redemption_limit, :end_time, :create_time
    )
    ON CONFLICT DO NOTHING
    RETURNING promotion
    """,
    scalar,
)

_ACTIVE_COUNT: Query[int] = Query(
    "SELECT count(*) FROM promotions WHERE merchant = :merchant AND state = 'ACTIVE'", scalar
)

_GET = Query(
    """
    SELECT merchant, promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
           discount_until_time, code, products, redemption_limit, end_time, create_time,
           redemption_count, state, version
    FROM promotions WHERE merchant = :merchant AND promotion = :promotion
    """,
    _PromotionRow,
)

_GET_LOCKED = Query(
    """
    SELECT merchant, promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
           discount_until_time, code, products, redemption_limit, end_time, create_time,
           redemption_count, state, version
    FROM promotions WHERE merchant = :merchant AND promotion = :promotion FOR UPDATE
    """,
    _PromotionRow,
)

_LIST = Query(
    """
    SELECT merchant, promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
           discount_until_time, code, products, redemption_limit, end_time, create_time,
           redemption_count, state, version
    FROM promotions WHERE merchant = :merchant AND promotion > :after
    ORDER BY promotion LIMIT :limit
    """,
    _PromotionRow,
)

_END = Query(
    """
    UPDATE promotions SET state = :state, version = version + 1
    WHERE merchant = :merchant AND promotion = :promotion
    RETURNING merchant, promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
              discount_until_time, code, products, redemption_limit, end_time, create_time,
              redemption_count, state, version
    """,
    _PromotionRow,
)

_OF_CODE = Query(
    """
    SELECT merchant, promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
           discount_until_time, code, products, redemption_limit, end_time, create_time,
           redemption_count, state, version
    FROM promotions
    WHERE code = :code AND merchant = :merchant
      AND (code <> '' OR (state = 'ACTIVE' AND (end_time IS NULL OR end_time > :now)))
    """,
    _PromotionRow,
)

# One without a code that is over is nobody's.
_REDEEMABLE = Query(
    """
    SELECT merchant, promotion
    FROM unnest(CAST(:merchant AS text[]), CAST(:code AS text[])) AS wanted (of_merchant, of_code)
    -- OFFSET has each code looked up by its key, not all promotions joined.
    CROSS JOIN LATERAL (
        SELECT merchant, promotion FROM promotions
        WHERE code = of_code AND merchant = of_merchant
          AND (code <> '' OR (state = 'ACTIVE' AND (end_time IS NULL OR end_time > :now)))
        OFFSET 0) AS found
    """,
    PromotionKey,
)

# Who redeems waits for who redeems the same, so that no more do than may; in the order of their key, so
# that two batches never wait for each other.
_LOCKED = Query(
    """
    SELECT merchant, promotion, title, percent_off_bps, amount_off_minor, currency, cycle_count,
           discount_until_time, code, products, redemption_limit, end_time, create_time,
           redemption_count, state, version
    FROM promotions
    JOIN unnest(CAST(:merchant AS text[]), CAST(:promotion AS text[]))
      AS wanted (merchant, promotion) USING (merchant, promotion)
    ORDER BY promotion, merchant FOR UPDATE OF promotions
    """,
    _PromotionRow,
)

_REDEEMED = Query(
    """
    SELECT merchant, standing_order FROM redemptions
    JOIN unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS wanted (merchant, standing_order) USING (merchant, standing_order)
    """,
    StandingOrderKey,
)

_ENDINGS = Query(
    """
    SELECT merchant, standing_order, promotion, title, first_cycle, cycle_count, discount_until_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS wanted (merchant, standing_order)
    JOIN redemptions USING (standing_order, merchant)
    JOIN promotions USING (merchant, promotion)
    WHERE cycle_count > 0 OR discount_until_time IS NOT NULL
    """,
    EndingPromotion,
)

_REDEEM = Query(
    """
    INSERT INTO redemptions (merchant, standing_order, promotion, first_cycle, redeem_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:promotion AS text[]),
        CAST(:first_cycle AS integer[]), CAST(:redeem_time AS timestamptz[]))
    ON CONFLICT (standing_order, merchant) DO NOTHING
    RETURNING merchant, promotion
    """,
    PromotionKey,
)

_RELEASE = Query(
    """
    DELETE FROM redemptions
    USING unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS released (merchant, standing_order)
    WHERE redemptions.standing_order = released.standing_order
      AND redemptions.merchant = released.merchant
    RETURNING redemptions.merchant, redemptions.promotion, redemptions.standing_order
    """,
    Released,
)

_COUNT = Command("""
    UPDATE promotions SET redemption_count = redemption_count + change.redemptions
    FROM unnest(CAST(:merchant AS text[]), CAST(:promotion AS text[]),
                CAST(:redemptions AS integer[]))
      AS change (merchant, promotion, redemptions)
    WHERE promotions.merchant = change.merchant AND promotions.promotion = change.promotion
""")


async def insert(tx: Connection, promotion: Promotion) -> bool:
    """Create a promotion; False if its id or its code is taken."""
    made = await _INSERT.one_or_none(
        tx,
        merchant=promotion.merchant,
        **promotion.discount._asdict(),
        currency=promotion.currency,
        code=promotion.code,
        redemption_limit=promotion.redemption_limit,
        end_time=promotion.end_time,
        create_time=promotion.create_time,
    )
    return made is not None


async def active_count(tx: Connection, merchant: MerchantId) -> int:
    """How many promotions of a merchant were not ended."""
    return await _ACTIVE_COUNT.one(tx, merchant=merchant)


async def promotion(tx: Connection, key: PromotionKey, *, lock: bool = False) -> Promotion | None:
    """A promotion, locked until the transaction ends if `lock` is set."""
    row = await (_GET_LOCKED if lock else _GET).one_or_none(tx, **key._asdict())
    return row and _promotion(row)


async def promotions_of_merchant(
    tx: Connection, merchant: MerchantId, after: str, limit: int
) -> list[Promotion]:
    """A merchant's promotions by id, after an id."""
    rows = await _LIST.all(tx, merchant=merchant, after=after, limit=limit)
    return list(map(_promotion, rows))


async def update_state(tx: Connection, key: PromotionKey, state: PromotionState) -> Promotion:
    """Move an existing promotion to another state."""
    return _promotion(await _END.one(tx, **key._asdict(), state=state))


async def redeemable(
    tx: Connection, wanted: Sequence[tuple[MerchantId, str]], now: datetime
) -> list[Promotion]:
    """The promotions of merchants' codes; of an empty one, all that go on without a code. Locked."""
    distinct = set(wanted)
    keys = await _REDEEMABLE.all(
        tx,
        merchant=[merchant for merchant, _ in distinct],
        code=[code for _, code in distinct],
        now=now,
    )
    return list(map(_promotion, await _LOCKED.all_for(tx, keys)))


async def of_code(
    tx: Connection, merchant: MerchantId, code: str, now: datetime
) -> list[Promotion]:
    """The promotion of a code; of an empty one, all that go on without a code. Not locked."""
    return list(map(_promotion, await _OF_CODE.all(tx, merchant=merchant, code=code, now=now)))


async def redeemed(
    tx: Connection, standing_orders: Iterable[StandingOrderKey]
) -> set[StandingOrderKey]:
    """Those of the standing orders that have redeemed a promotion."""
    return set(await _REDEEMED.all_for(tx, set(standing_orders)))


async def endings(
    tx: Connection, standing_orders: Iterable[StandingOrderKey]
) -> dict[StandingOrderKey, EndingPromotion]:
    """The promotions that standing orders have redeemed, of those that end."""
    rows = await _ENDINGS.all_for(tx, set(standing_orders))
    return {StandingOrderKey(row.merchant, row.standing_order): row for row in rows}


async def insert_redemptions(tx: Connection, redemptions: Sequence[Redemption]) -> None:
    """Let standing orders redeem promotions that are locked."""
    await _count(tx, await _REDEEM.all_for(tx, redemptions), by=1)


async def release(tx: Connection, standing_orders: Iterable[StandingOrderKey]) -> list[Released]:
    """Give back what standing orders redeemed; returns what those had that had."""
    released = await _RELEASE.all_for(tx, set(standing_orders))
    await _count(tx, [PromotionKey(it.merchant, it.promotion) for it in released], by=-1)
    return released


async def _count(tx: Connection, keys: Sequence[PromotionKey], by: int) -> None:
    counts = Counter(keys)
    in_order = sorted(counts)
    await _COUNT.run_for(tx, in_order, redemptions=[by * counts[key] for key in in_order])


def _promotion(row: _PromotionRow) -> Promotion:
    discount = Discount(
        row.promotion,
        row.title,
        row.percent_off_bps,
        row.amount_off_minor,
        row.cycle_count,
        row.discount_until_time,
        row.products,
    )
    return Promotion(
        row.merchant,
        discount,
        row.currency,
        row.code,
        row.redemption_limit,
        row.end_time,
        row.create_time,
        row.redemption_count,
        row.state,
        row.version,
    )
