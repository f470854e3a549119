"""Rows of deliveries."""

from collections import defaultdict
from collections.abc import Iterable

from services.catalog.domain.deliveries import Delivery, DeliveryKey
from services.catalog.domain.products import ProductKey
from services.catalog.domain.transitions import DeliveryState
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

_INSERT = Command("""
    INSERT INTO deliveries (merchant, product, delivery, units, expected_date, state,
                            received_units, create_time)
    VALUES (:merchant, :product, :delivery, :units, :expected_date, :state, 0, :create_time)
    ON CONFLICT (product, merchant, delivery) DO NOTHING
""")

_COUNT_EXPECTED: Query[int] = Query(
    """
    SELECT count(*) FROM deliveries
    WHERE product = :product AND merchant = :merchant AND state = 'EXPECTED'
    """,
    scalar,
)

_GET_LOCKED = Query(
    """
    SELECT merchant, product, delivery, units, expected_date, state, received_units, create_time
    FROM deliveries
    WHERE product = :product AND merchant = :merchant AND delivery = :delivery FOR UPDATE
    """,
    Delivery,
)

_LIST = Query(
    """
    SELECT merchant, product, delivery, units, expected_date, state, received_units, create_time
    FROM deliveries
    WHERE product = :product AND merchant = :merchant AND delivery > :after
    ORDER BY delivery LIMIT :limit
    """,
    Delivery,
)

_UPDATE = Query(
    """
    UPDATE deliveries SET state = :state, received_units = :received_units
    WHERE product = :product AND merchant = :merchant AND delivery = :delivery
    RETURNING merchant, product, delivery, units, expected_date, state, received_units, create_time
    """,
    Delivery,
)

_EXPECTED = Query(
    """
    SELECT merchant, product, delivery, units, expected_date, state, received_units, create_time
    FROM unnest(CAST(:merchant AS text[]), CAST(:product AS text[]))
      AS wanted (of_merchant, of_product)
    -- OFFSET has each product looked up by its key, not all deliveries joined.
    CROSS JOIN LATERAL (
        SELECT * FROM deliveries
        WHERE product = of_product AND merchant = of_merchant AND state = 'EXPECTED'
        OFFSET 0) AS found
    ORDER BY expected_date, delivery
    """,
    Delivery,
)


async def insert(tx: Connection, delivery: Delivery) -> bool:
    """Add a delivery that is expected; False if the id is taken."""
    added = await _INSERT.run(
        tx,
        **delivery.key._asdict(),
        units=delivery.units,
        expected_date=delivery.expected_date,
        state=delivery.state,
        create_time=delivery.create_time,
    )
    return added == 1


async def expected_count(tx: Connection, key: ProductKey) -> int:
    """How many deliveries of a product are expected."""
    return await _COUNT_EXPECTED.one(tx, **key._asdict())


async def get_locked(tx: Connection, key: DeliveryKey) -> Delivery | None:
    """A delivery, locked until the transaction ends."""
    return await _GET_LOCKED.one_or_none(tx, **key._asdict())


async def of_product(tx: Connection, key: ProductKey, after: str, limit: int) -> list[Delivery]:
    """The deliveries of a product by id, after an id."""
    return await _LIST.all(tx, **key._asdict(), after=after, limit=limit)


async def update(
    tx: Connection, key: DeliveryKey, state: DeliveryState, received_units: int
) -> Delivery:
    """Move an existing delivery to another state."""
    return await _UPDATE.one(tx, **key._asdict(), state=state, received_units=received_units)


async def expected(tx: Connection, keys: Iterable[ProductKey]) -> dict[ProductKey, list[Delivery]]:
    """The deliveries of products that are expected, by date."""
    found: dict[ProductKey, list[Delivery]] = defaultdict(list)
    for delivery in await _EXPECTED.all_for(tx, set(keys)):
        found[delivery.key.product_key].append(delivery)
    return found
