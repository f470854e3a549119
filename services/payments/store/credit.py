"""What customers have of credit: balances, locked while they change, and all that changed them."""

import uuid
from collections.abc import Iterable, Sequence

from services.payments.domain.credit import Credit, CreditTransaction
from services.payments.domain.keys import CreditKey, CreditTransactionKey, CustomerKey
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar

_ENSURE = Command("""
    INSERT INTO credit_balances (merchant, customer, currency)
    SELECT * FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]),
                         CAST(:currency AS text[]))
    ON CONFLICT (customer, merchant, currency) DO NOTHING
""")

# In the order of their keys, so that two batches never wait for each other.
_LOCKED = Query(
    """
    SELECT merchant, customer, currency, balance_minor, reserved_minor
    FROM credit_balances
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:currency AS text[]))
      AS wanted (customer, merchant, currency) USING (customer, merchant, currency)
    ORDER BY merchant, customer, currency FOR UPDATE OF credit_balances
""",
    Credit,
)

_BY_KEY = Query(
    """
    SELECT merchant, customer, currency, balance_minor, reserved_minor
    FROM credit_balances
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:currency AS text[]))
      AS wanted (customer, merchant, currency) USING (customer, merchant, currency)
""",
    Credit,
)

_OF_CUSTOMER = Query(
    """
    SELECT merchant, customer, currency, balance_minor, reserved_minor
    FROM credit_balances
    WHERE customer = :customer AND merchant = :merchant
    ORDER BY currency
""",
    Credit,
)

_RESERVE = Command("""
    UPDATE credit_balances SET reserved_minor = reserved_minor + more.amount_minor
    FROM (
        SELECT customer, merchant, currency, sum(amount_minor) AS amount_minor
        FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:currency AS text[]),
                    CAST(:amount_minor AS bigint[]))
          AS part (customer, merchant, currency, amount_minor)
        GROUP BY customer, merchant, currency
    ) AS more
    WHERE credit_balances.customer = more.customer AND credit_balances.merchant = more.merchant
      AND credit_balances.currency = more.currency
""")

# Several of one customer come one after the other. One whose id is taken changes nothing, whoever took
# it, and in whatever currency: so the transactions come before the balances, which are locked.
_ADD = Query(
    """
    WITH wanted AS (
        SELECT * FROM unnest(
            CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:credit_transaction AS text[]),
            CAST(:type AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
            CAST(:source AS text[]), CAST(:create_time AS timestamptz[])
        ) WITH ORDINALITY AS wanted (merchant, customer, credit_transaction, type, amount_minor,
                                     currency, source, create_time, place)
    ), added AS (
        INSERT INTO credit_transactions (merchant, customer, credit_transaction, type, amount_minor,
                                         currency, source, create_time, balance_after_minor)
        SELECT merchant, customer, credit_transaction, type, amount_minor, currency, source,
               create_time,
               CAST(balance_minor + sum(amount_minor) OVER (
                   PARTITION BY customer, merchant, currency ORDER BY place) AS bigint)
        FROM wanted JOIN credit_balances USING (customer, merchant, currency)
        ORDER BY place
        ON CONFLICT (customer, merchant, credit_transaction) DO NOTHING
        RETURNING merchant, customer, credit_transaction, type, amount_minor, currency, source,
                  create_time, balance_after_minor
    ), moved AS (
        UPDATE credit_balances SET balance_minor = balance_minor + change.amount_minor
        FROM (
            SELECT customer, merchant, currency, sum(amount_minor) AS amount_minor
            FROM added GROUP BY customer, merchant, currency
        ) AS change
        WHERE credit_balances.customer = change.customer
          AND credit_balances.merchant = change.merchant
          AND credit_balances.currency = change.currency
    )
    SELECT * FROM added
""",
    CreditTransaction,
)

_EXISTS: Query[bool] = Query(
    """
    SELECT EXISTS (
        SELECT FROM credit_transactions
        WHERE customer = :customer AND merchant = :merchant
          AND credit_transaction = :credit_transaction)
""",
    scalar,
)

_LISTED = Query(
    """
    SELECT merchant, customer, credit_transaction, type, amount_minor, currency, source, create_time,
           balance_after_minor, position
    FROM credit_transactions
    WHERE customer = :customer AND merchant = :merchant AND position > :after
    ORDER BY position LIMIT :limit
""",
    CreditTransaction,
)


async def ensure(tx: Connection, keys: Iterable[CreditKey]) -> None:
    """Have a balance for each of the credits, so that it can be locked and changed."""
    await _ENSURE.run_for(tx, sorted(set(keys)))


async def locked(tx: Connection, keys: Iterable[CreditKey]) -> dict[CreditKey, Credit]:
    """Those of the credits that customers ever had, locked until the transaction ends."""
    return {credit.key: credit for credit in await _LOCKED.all_for(tx, sorted(set(keys)))}


async def by_key(tx: Connection, keys: Iterable[CreditKey]) -> dict[CreditKey, Credit]:
    """Those of the credits that customers ever had."""
    return {credit.key: credit for credit in await _BY_KEY.all_for(tx, sorted(set(keys)))}


async def of_customer(tx: Connection, owner: CustomerKey) -> list[Credit]:
    """What a customer has, by currency."""
    return await _OF_CUSTOMER.all(tx, **owner._asdict())


async def reserve(tx: Connection, keys: Sequence[CreditKey], amounts_minor: Sequence[int]) -> None:
    """Reserve amounts of credits that are locked; a negative one is free again."""
    await _RESERVE.run_for(tx, keys, amount_minor=amounts_minor)


async def add(tx: Connection, transactions: Sequence[CreditTransaction]) -> list[CreditTransaction]:
    """Change credits that are locked; returns those transactions whose ids were free, as stored."""
    return await _ADD.all_for(tx, transactions)


async def exists(tx: Connection, key: CreditTransactionKey) -> bool:
    """Whether a transaction of this name was stored."""
    return await _EXISTS.one(tx, **key._asdict())


async def transactions(
    tx: Connection, owner: CustomerKey, after: uuid.UUID, limit: int
) -> list[CreditTransaction]:
    """What changed a customer's credit, the oldest first, after a position."""
    return await _LISTED.all(tx, **owner._asdict(), after=after, limit=limit)
