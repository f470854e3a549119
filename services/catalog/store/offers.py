"""Rows of offers of price protection."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from services.catalog.domain.offers import Offer, OfferKey, OfferState
from services.catalog.domain.products import MerchantId, ProductId
from services.catalog.domain.protections import Cap, Lock, OfferId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query, scalar


class OfferRow(NamedTuple):
    """A row of the table `price_protection_offers`."""

    merchant: MerchantId
    offer: OfferId
    title: str
    lock_cycle_count: int | None
    lock_until_time: datetime | None
    # None: a lock.
    cap_bps: int | None
    products: list[ProductId]
    start_time: datetime | None
    end_time: datetime | None
    protects_added_products: bool
    survives_schedule_changes: bool
    create_time: datetime
    state: OfferState
    version: int


_INSERT = Query(
    """
    INSERT INTO price_protection_offers (
        merchant, offer, title, lock_cycle_count, lock_until_time, cap_bps, products, start_time,
        end_time, protects_added_products, survives_schedule_changes, create_time
    ) VALUES (
        :merchant, :offer, :title, :lock_cycle_count, :lock_until_time, :cap_bps, :products,
        :start_time, :end_time, :protects_added_products, :survives_schedule_changes, :create_time
    )
    ON CONFLICT DO NOTHING
    RETURNING offer
    """,
    scalar,
)

_GET = Query(
    """
    SELECT merchant, offer, title, lock_cycle_count, lock_until_time, cap_bps, products, start_time,
           end_time, protects_added_products, survives_schedule_changes, create_time, state, version
    FROM price_protection_offers WHERE merchant = :merchant AND offer = :offer
    """,
    OfferRow,
)

_GET_LOCKED = Query(
    """
    SELECT merchant, offer, title, lock_cycle_count, lock_until_time, cap_bps, products, start_time,
           end_time, protects_added_products, survives_schedule_changes, create_time, state, version
    FROM price_protection_offers WHERE merchant = :merchant AND offer = :offer FOR UPDATE
    """,
    OfferRow,
)

_LIST = Query(
    """
    SELECT merchant, offer, title, lock_cycle_count, lock_until_time, cap_bps, products, start_time,
           end_time, protects_added_products, survives_schedule_changes, create_time, state, version
    FROM price_protection_offers WHERE merchant = :merchant AND offer > :after
    ORDER BY offer LIMIT :limit
    """,
    OfferRow,
)

_BY_KEY = Query(
    """
    SELECT found.*
    FROM unnest(CAST(:merchant AS text[]), CAST(:offer AS text[])) AS wanted (of_merchant, of_offer)
    -- OFFSET has each offer looked up by its key, not all of them joined.
    CROSS JOIN LATERAL (
        SELECT merchant, offer, title, lock_cycle_count, lock_until_time, cap_bps, products,
               start_time, end_time, protects_added_products, survives_schedule_changes, create_time,
               state, version
        FROM price_protection_offers WHERE merchant = of_merchant AND offer = of_offer
        OFFSET 0) AS found
    """,
    OfferRow,
)

_END = Query(
    """
    UPDATE price_protection_offers SET state = :state, version = version + 1
    WHERE merchant = :merchant AND offer = :offer
    RETURNING merchant, offer, title, lock_cycle_count, lock_until_time, cap_bps, products, start_time,
              end_time, protects_added_products, survives_schedule_changes, create_time, state, version
    """,
    OfferRow,
)


async def insert(tx: Connection, offer: Offer) -> bool:
    """Create an offer; False if its id is taken."""
    terms = offer.terms
    made = await _INSERT.one_or_none(
        tx,
        merchant=offer.merchant,
        offer=offer.offer,
        title=offer.title,
        lock_cycle_count=terms.cycle_count if isinstance(terms, Lock) else None,
        lock_until_time=terms.until_time if isinstance(terms, Lock) else None,
        cap_bps=terms.increase_limit_bps if isinstance(terms, Cap) else None,
        products=offer.products,
        start_time=offer.start_time,
        end_time=offer.end_time,
        protects_added_products=offer.protects_added_products,
        survives_schedule_changes=offer.survives_schedule_changes,
        create_time=offer.create_time,
    )
    return made is not None


async def offer(tx: Connection, key: OfferKey, *, lock: bool = False) -> Offer | None:
    """An offer, locked until the transaction ends if `lock` is set."""
    row = await (_GET_LOCKED if lock else _GET).one_or_none(tx, **key._asdict())
    return row and offer_of(row)


async def offers_of_merchant(
    tx: Connection, merchant: MerchantId, after: str, limit: int
) -> list[Offer]:
    """A merchant's offers by id, after an id."""
    rows = await _LIST.all(tx, merchant=merchant, after=after, limit=limit)
    return list(map(offer_of, rows))


async def offers_by_key(tx: Connection, keys: Iterable[OfferKey]) -> dict[OfferKey, Offer]:
    """Those of the offers that there are."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    found = map(offer_of, await _BY_KEY.all_for(tx, wanted))
    return {offer.key: offer for offer in found}


async def update_state(tx: Connection, key: OfferKey, state: OfferState) -> Offer:
    """Move an existing offer to another state."""
    return offer_of(await _END.one(tx, **key._asdict(), state=state))


_TIMES = ("lock_until_time", "start_time", "end_time", "create_time")


def offer_of_json(row: dict[str, Any]) -> Offer:
    """An offer from its row as JSON."""
    times = {name: row[name] and datetime.fromisoformat(row[name]) for name in _TIMES}
    return offer_of(OfferRow(**{**row, **times, "state": OfferState(row["state"])}))


def offer_of(row: OfferRow) -> Offer:
    """An offer from its row."""
    lock = Lock(row.lock_cycle_count, row.lock_until_time)
    return Offer(
        merchant=row.merchant,
        offer=row.offer,
        title=row.title,
        terms=lock if row.cap_bps is None else Cap(row.cap_bps),
        products=row.products,
        start_time=row.start_time,
        end_time=row.end_time,
        protects_added_products=row.protects_added_products,
        survives_schedule_changes=row.survives_schedule_changes,
        create_time=row.create_time,
        state=row.state,
        version=row.version,
    )
