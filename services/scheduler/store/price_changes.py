"""Rows of price changes, of the standing orders that they concern, and of who was notified."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query
from services.scheduler.domain.ids import (
    CustomerId,
    CustomerKey,
    MerchantId,
    StandingOrderId,
    StandingOrderKey,
)
from services.scheduler.domain.price_changes import (
    Impact,
    NewPriceChange,
    PriceChange,
    PriceChangeKey,
    Recipient,
    RecipientKey,
)


class Added(NamedTuple):
    """A standing order of a product, and when it was added."""

    add_time: datetime
    standing_order: StandingOrderId


class Repeating(NamedTuple):
    """Whose standing order repeats a product, and since when."""

    customer: CustomerId
    add_time: datetime
    standing_order: StandingOrderId


class Notified(NamedTuple):
    """What a notice said to a customer of a standing order."""

    merchant: MerchantId
    standing_order: StandingOrderId
    customer: CustomerId
    notice: str
    first_cycle: int
    first_due_time: datetime
    amount_minor: int
    previous_minor: int
    currency: str

    @property
    def key(self) -> StandingOrderKey:
        """Which standing order."""
        return StandingOrderKey(self.merchant, self.standing_order)

    @property
    def impact(self) -> Impact:
        """What the price would have changed."""
        return Impact(*self[4:])


class Assessed(NamedTuple):
    """What became of a recipient: notified, to be looked at later, or not concerned."""

    recipient: Recipient
    impact: Impact | None = None
    notice: str | None = None
    later_time: datetime | None = None


_INSERT = Command("""
    INSERT INTO price_changes (merchant, product, price, title, effective_time, announce_time,
                               due_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]),
        CAST(:title AS text[]), CAST(:effective_time AS timestamptz[]),
        CAST(:announce_time AS timestamptz[]), CAST(:due_time AS timestamptz[]))
    ON CONFLICT (merchant, product, price) DO UPDATE
    SET title = EXCLUDED.title, effective_time = EXCLUDED.effective_time,
        announce_time = EXCLUDED.announce_time, due_time = EXCLUDED.due_time,
        after_time = to_timestamp(0), after_key = '', version = price_changes.version + 1
    WHERE price_changes.announce_time < EXCLUDED.announce_time
      AND price_changes.withdraw_time IS NULL
""")

# It may be the first that is known of the price. A walk under way finds another version.
_WITHDRAW = Command("""
    INSERT INTO price_changes (merchant, product, price, title, effective_time, announce_time,
                               withdraw_time, due_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]),
        CAST(:title AS text[]), CAST(:effective_time AS timestamptz[]),
        CAST(:announce_time AS timestamptz[]), CAST(:withdraw_time AS timestamptz[]),
        CAST(:due_time AS timestamptz[]))
    ON CONFLICT (merchant, product, price) DO UPDATE
    SET withdraw_time = EXCLUDED.withdraw_time, due_time = EXCLUDED.due_time,
        after_time = to_timestamp(0), after_key = '', version = price_changes.version + 1
    WHERE price_changes.withdraw_time IS NULL
""")

_DUE = Query(
    """
    SELECT due.merchant, due.product, price, title, effective_time, announce_time, withdraw_time,
           after_time, after_key, version,
           withdraw_time IS NULL AND added.product IS NULL AS is_at_end
    FROM (
        SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
        CROSS JOIN LATERAL (
            SELECT * FROM price_changes
            WHERE price_changes.bucket = leased.bucket AND due_time <= :now
              AND merchant || '/' || product || '/' || price <> ALL(CAST(:left_out AS text[]))
            ORDER BY due_time LIMIT :limit) AS due
        LIMIT :limit) AS due
    LEFT JOIN LATERAL (
        SELECT product FROM standing_order_products
        WHERE merchant = due.merchant AND product = due.product
          AND (add_time, standing_order) > (after_time, after_key)
        LIMIT 1) AS added ON true
    """,
    PriceChange,
)

_REPEATING = Query(
    """
    SELECT customer, add_time, standing_order FROM standing_order_products
    WHERE merchant = :merchant AND product = :product
      AND (add_time, standing_order) > (:after_time, :after_key)
    ORDER BY add_time, standing_order LIMIT :limit
    """,
    Repeating,
)

# With all standing orders of each customer at once: there is one notice for them.
_ADD_RECIPIENTS = Query(
    """
    WITH page AS (
        SELECT customer, add_time, standing_order FROM standing_order_products
        WHERE merchant = :merchant AND product = :product
          AND (add_time, standing_order) > (:after_time, :after_key)
        ORDER BY add_time, standing_order LIMIT :limit),
    recipients AS (
        INSERT INTO price_change_notices (merchant, standing_order, product, price, announce_time,
                                          customer, notify_time)
        SELECT merchant, known.standing_order, product, :price, :announce_time, customer, :now
        FROM (SELECT DISTINCT customer FROM page) AS concerned
        CROSS JOIN LATERAL (
            SELECT merchant, standing_order, product FROM standing_order_products
            WHERE merchant = :merchant AND product = :product
              AND standing_order_products.customer = concerned.customer
            OFFSET 0) AS known
        ON CONFLICT (merchant, standing_order, product, price, announce_time) DO NOTHING)
    SELECT add_time, standing_order FROM page ORDER BY add_time, standing_order
    """,
    Added,
)

# At its end, a walk goes back a little: a transaction may still add a row behind it.
_MOVE = Command("""
    UPDATE price_changes
    SET after_time = CASE WHEN CAST(:at_end AS boolean)
            THEN least(moved.after_time, now() - interval '1 minute')
            ELSE moved.after_time END,
        after_key = moved.after_key, due_time = moved.due_time, version = price_changes.version + 1
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]),
        CAST(:version AS integer[]), CAST(:after_time AS timestamptz[]),
        CAST(:after_key AS text[]), CAST(:due_time AS timestamptz[])
    ) AS moved (merchant, product, price, version, after_time, after_key, due_time)
    WHERE price_changes.merchant = moved.merchant AND price_changes.product = moved.product
      AND price_changes.price = moved.price AND price_changes.version = moved.version
""")

_RECIPIENTS = Query(
    """
    SELECT notices.merchant, notices.standing_order, notices.product, notices.price,
           notices.customer, title, effective_time, notices.announce_time, notify_time
    FROM (
        SELECT DISTINCT merchant, customer, product, price FROM (
            SELECT due.* FROM unnest(CAST(:buckets AS smallint[])) AS leased (bucket)
            CROSS JOIN LATERAL (
                SELECT merchant, customer, product, price FROM price_change_notices
                WHERE bucket = leased.bucket AND notify_time <= :now
                  AND merchant || '/' || customer || '/' || product || '/' || price
                      <> ALL(CAST(:left_out AS text[]))
                ORDER BY notify_time LIMIT :limit) AS due
            LIMIT :limit) AS due) AS concerned
    CROSS JOIN LATERAL (
        SELECT * FROM price_change_notices
        WHERE merchant = concerned.merchant AND product = concerned.product
          AND price = concerned.price AND customer = concerned.customer AND notify_time <= :now
        OFFSET 0) AS notices
    JOIN price_changes ON price_changes.merchant = notices.merchant
      AND price_changes.product = notices.product AND price_changes.price = notices.price
    """,
    Recipient,
)

# What somebody has looked at meanwhile, or was withdrawn, stays as it is.
_STORE = Query(
    """
    UPDATE price_change_notices AS known
    SET notify_time = made.later_time, notified_time = made.notified_time, notice = made.notice,
        first_cycle = made.first_cycle, first_due_time = made.first_due_time,
        amount_minor = made.amount_minor, previous_minor = made.previous_minor,
        currency = made.currency
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:product AS text[]),
        CAST(:price AS text[]), CAST(:announce_time AS timestamptz[]),
        CAST(:notify_time AS timestamptz[]), CAST(:later_time AS timestamptz[]),
        CAST(:notified_time AS timestamptz[]),
        CAST(:notice AS text[]), CAST(:first_cycle AS int[]),
        CAST(:first_due_time AS timestamptz[]), CAST(:amount_minor AS bigint[]),
        CAST(:previous_minor AS bigint[]), CAST(:currency AS text[]))
      AS made (merchant, standing_order, product, price, announce_time, notify_time, later_time,
               notified_time, notice, first_cycle, first_due_time, amount_minor, previous_minor,
               currency)
    WHERE known.merchant = made.merchant AND known.standing_order = made.standing_order
      AND known.product = made.product AND known.price = made.price
      AND known.announce_time = made.announce_time AND known.notify_time = made.notify_time
    RETURNING known.merchant, known.standing_order, known.product, known.price, known.announce_time
    """,
    RecipientKey,
)

# Those of a customer stay together.
_NOTIFIED = Query(
    """
    SELECT merchant, standing_order, customer, notice, first_cycle, first_due_time, amount_minor,
           previous_minor, currency
    FROM price_change_notices AS notified
    WHERE merchant = :merchant AND product = :product AND price = :price AND customer > :after_key
      AND notified_time IS NOT NULL
      -- Of a price that was corrected, what the last notice said.
      AND NOT EXISTS (
        SELECT FROM price_change_notices AS later
        WHERE later.merchant = notified.merchant AND later.standing_order = notified.standing_order
          AND later.product = notified.product AND later.price = notified.price
          AND later.announce_time > notified.announce_time AND later.notified_time IS NOT NULL)
    ORDER BY customer FETCH FIRST :limit ROWS WITH TIES
    """,
    Notified,
)


class OpenChange(NamedTuple):
    """A price change as it stands."""

    merchant: MerchantId
    product: str
    price: str
    announce_time: datetime


# Until the transaction ends, nobody withdraws or corrects them.
_OPEN = Query(
    """
    SELECT merchant, product, price, announce_time FROM price_changes
    JOIN unnest(CAST(:merchant AS text[]), CAST(:product AS text[]), CAST(:price AS text[]))
      AS wanted (merchant, product, price) USING (merchant, product, price)
    WHERE withdraw_time IS NULL FOR SHARE OF price_changes
    """,
    OpenChange,
)

# What notices said of former announcements: of each standing order the last one.
_NOTIFIED_BEFORE = Query(
    """
    SELECT merchant, standing_order, customer, notice, first_cycle, first_due_time, amount_minor,
           previous_minor, currency
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:product AS text[]),
        CAST(:price AS text[]), CAST(:announce_time AS timestamptz[]))
      AS made (of_merchant, of_standing_order, of_product, of_price, before_time)
    CROSS JOIN LATERAL (
        SELECT * FROM price_change_notices
        WHERE merchant = of_merchant AND standing_order = of_standing_order
          AND product = of_product AND price = of_price AND announce_time < before_time
          AND notified_time IS NOT NULL
        ORDER BY announce_time DESC LIMIT 1) AS notified
    """,
    Notified,
)


async def insert(tx: Connection, changes: Sequence[NewPriceChange], now: datetime) -> None:
    """Remember price changes that are new, to be walked at once."""
    await _INSERT.run_for(tx, changes, due_time=[now] * len(changes))


async def withdraw(tx: Connection, changes: Sequence[NewPriceChange], now: datetime) -> None:
    """Remember that price changes were withdrawn, to be walked at once."""
    await _WITHDRAW.run_for(tx, changes, due_time=[now] * len(changes))


async def due(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[PriceChangeKey],
) -> list[PriceChange]:
    """Price changes whose walks are to go on, but for some."""
    keys = ["/".join(key) for key in left_out]
    return await _DUE.all(tx, buckets=buckets, now=now, limit=limit, left_out=keys)


async def add_recipients(
    tx: Connection, change: PriceChange, now: datetime, limit: int
) -> list[Added]:
    """Remember the next standing orders of a walk as recipients; returns them, in its order."""
    return await _ADD_RECIPIENTS.all(
        tx,
        **change.key._asdict(),
        announce_time=change.announce_time,
        after_time=change.after_time,
        after_key=change.after_key,
        now=now,
        limit=limit,
    )


async def repeating(
    tx: Connection,
    merchant: MerchantId,
    product: str,
    after: tuple[datetime, str],
    limit: int,
) -> list[Repeating]:
    """The next standing orders of a product after one, in the order of a walk."""
    after_time, after_key = after
    return await _REPEATING.all(
        tx,
        merchant=merchant,
        product=product,
        after_time=after_time,
        after_key=after_key,
        limit=limit,
    )


async def move(
    tx: Connection, changes: Sequence[tuple[PriceChange, datetime | None]], *, at_end: bool
) -> int:
    """Store how far walks have come, and when they go on; returns of how many.

    One that went on or was withdrawn meanwhile stays as it is.
    """
    return await _MOVE.run(
        tx,
        merchant=[change.merchant for change, _ in changes],
        product=[change.product for change, _ in changes],
        price=[change.price for change, _ in changes],
        version=[change.version for change, _ in changes],
        after_time=[change.after_time for change, _ in changes],
        after_key=[change.after_key for change, _ in changes],
        due_time=[due_time for _, due_time in changes],
        at_end=at_end,
    )


async def recipients(
    tx: Connection,
    buckets: Sequence[int],
    now: datetime,
    limit: int,
    left_out: Sequence[tuple[CustomerKey, str, str]],
) -> list[Recipient]:
    """Recipients to be looked at, all of a customer together."""
    keys = ["/".join((*customer, product, price)) for customer, product, price in left_out]
    return await _RECIPIENTS.all(tx, buckets=buckets, now=now, limit=limit, left_out=keys)


async def store(tx: Connection, assessed: Sequence[Assessed], now: datetime) -> set[RecipientKey]:
    """Store what became of recipients; returns those that nobody has looked at meanwhile."""
    impacts = [one.impact if one.notice else None for one in assessed]
    stored = await _STORE.all_for(
        tx,
        [one.recipient for one in assessed],
        later_time=[one.later_time for one in assessed],
        notified_time=[now if impact else None for impact in impacts],
        notice=[one.notice for one in assessed],
        first_cycle=[impact and impact.first_cycle for impact in impacts],
        first_due_time=[impact and impact.first_due_time for impact in impacts],
        amount_minor=[impact and impact.amount_minor for impact in impacts],
        previous_minor=[impact and impact.previous_minor for impact in impacts],
        currency=[impact and impact.currency for impact in impacts],
    )
    return set(stored)


async def notified(tx: Connection, change: PriceChange, limit: int) -> list[Notified]:
    """Who was notified of a price change, by customer, those of a customer together."""
    return await _NOTIFIED.all(tx, **change.key._asdict(), after_key=change.after_key, limit=limit)


async def standing(tx: Connection, recipients: Collection[Recipient]) -> set[OpenChange]:
    """Which of their price changes stand, as they were announced, until the transaction ends."""
    keys = sorted({recipient.change_key for recipient in recipients})
    return set(await _OPEN.all_for(tx, keys))


async def notified_before(tx: Connection, recipients: Collection[Recipient]) -> list[Notified]:
    """What notices said to recipients of former announcements of the same price."""
    return await _NOTIFIED_BEFORE.all_for(tx, recipients)
