"""What the provider said of its balance: transactions, payouts, and how far both were read."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from services.payments.domain.keys import CustomerId, MerchantId, PayoutName
from services.payments.domain.provider_balance import (
    BalanceTransaction,
    Owner,
    PayoutShare,
    ProviderPayout,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar


class Window(NamedTuple):
    """The time whose transactions are being read, and after which of them the next page comes."""

    provider: str
    since_time: datetime
    until_time: datetime
    after: str


class ListedPayout(NamedTuple):
    """A payout whose transactions are being read."""

    payout: str
    amount_minor: int
    currency: str
    arrive_time: datetime
    after: str

    @property
    def provider_payout(self) -> ProviderPayout:
        """What the provider said of it."""
        return ProviderPayout(*self[:4])


class Payout(NamedTuple):
    """What a payout brought to a merchant, and when."""

    merchant: MerchantId
    payout: str
    currency: str
    charges_minor: int
    refunds_minor: int
    disputes_minor: int
    others_minor: int
    fees_minor: int
    transaction_count: int
    arrive_time: datetime

    @property
    def share(self) -> PayoutShare:
        """What it brought."""
        return PayoutShare(*self[:9])


class _Id(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    balance_transaction: str


class _ShareId(NamedTuple):
    merchant: MerchantId
    payout: str
    currency: str


class _OwnerRow(NamedTuple):
    object: str
    merchant: MerchantId
    customer: CustomerId
    source: str


class _ListedChargeRow(NamedTuple):
    source: str
    balance_transaction: str


_ENSURE = Command("""
    INSERT INTO balance_reading (provider, listing_delay_days, since_time, until_time, after, turn_time,
                                 compared_through_date, compare_turn_time)
    VALUES (:provider, :listing_delay_days, '1970-01-01', '1970-01-01', '', '1970-01-01', '1970-01-01',
            '1970-01-01')
    ON CONFLICT (provider) DO NOTHING
""")
# By the clock of the database, so that replicas take turns whatever the simulated one does. A window
# that is not read yet stays as it is.
_TAKE_TURN = Query(
    """
    UPDATE balance_reading
    SET turn_time = clock_timestamp(),
        until_time = CASE WHEN until_time > since_time THEN until_time
                          ELSE greatest(since_time, CAST(:until_time AS timestamptz)) END
    WHERE provider = :provider
      AND turn_time < clock_timestamp() - make_interval(secs => :turn_seconds)
    RETURNING provider, since_time, until_time, after
""",
    Window,
)
# Guarded by where it was: a replica that was held up moves nothing.
_ADVANCE = Command("""
    UPDATE balance_reading SET after = :next_after
    WHERE provider = :provider AND since_time = :since_time AND until_time = :until_time
      AND after = :after
""")
_END_WINDOW = Command("""
    UPDATE balance_reading SET since_time = until_time, after = ''
    WHERE provider = :provider AND since_time = :since_time AND until_time = :until_time
      AND after = :after
""")

# The provider's ids of bank debits begin so; a card's transactions say themselves whose they are.
_OWNERS = Query(
    """
    SELECT wanted.object, owner.merchant, owner.customer, owner.source
    FROM unnest(CAST(:objects AS text[])) AS wanted (object)
    CROSS JOIN LATERAL (
        SELECT merchant, customer,
               'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge AS source
        FROM attempts
        WHERE provider_payment = wanted.object AND provider_payment LIKE 'PM%'
        UNION ALL
        SELECT merchant, customer,
               'merchants/' || merchant || '/customers/' || customer || '/charges/' || charge
                   || '/refunds/' || refund
        FROM refunds
        WHERE provider_refund = wanted.object AND provider_refund LIKE 'RF%'
        LIMIT 1) AS owner
""",
    _OwnerRow,
)
# The first is the payment's own; another one is of money that came again.
_LISTED_CHARGES = Query(
    """
    SELECT DISTINCT ON (listed.source) listed.source, listed.balance_transaction
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:source AS text[]))
      AS wanted (merchant, customer, source)
    CROSS JOIN LATERAL (
        SELECT source, balance_transaction FROM balance_transactions AS listed
        WHERE listed.customer = wanted.customer AND listed.merchant = wanted.merchant
          AND listed.source = wanted.source AND type = 'CHARGE' OFFSET 0) AS listed
    ORDER BY listed.source, listed.balance_transaction
""",
    _ListedChargeRow,
)
_INSERT = Query(
    """
    INSERT INTO balance_transactions (provider, merchant, customer, source, balance_transaction, type,
                                      amount_minor, fee_minor, currency, create_time, converted_minor,
                                      converted_currency)
    SELECT CAST(:provider AS text), * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:source AS text[]),
        CAST(:balance_transaction AS text[]), CAST(:type AS text[]),
        CAST(:amount_minor AS bigint[]), CAST(:fee_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:create_time AS timestamptz[]), CAST(:converted_minor AS bigint[]),
        CAST(:converted_currency AS text[]))
    ON CONFLICT (customer, merchant, balance_transaction) DO NOTHING
    RETURNING merchant, customer, balance_transaction
""",
    _Id,
)
_ASSIGN = Command("""
    UPDATE balance_transactions SET payout = :payout
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]),
                CAST(:balance_transaction AS text[]))
      AS paid (customer, merchant, balance_transaction)
    WHERE balance_transactions.customer = paid.customer
      AND balance_transactions.merchant = paid.merchant
      AND balance_transactions.balance_transaction = paid.balance_transaction
      AND payout = ''
""")

_INSERT_PAYOUTS = Command("""
    INSERT INTO provider_payouts (provider, payout, amount_minor, currency, arrive_time)
    SELECT CAST(:provider AS text), * FROM unnest(
        CAST(:payout AS text[]), CAST(:amount_minor AS bigint[]), CAST(:currency AS text[]),
        CAST(:arrive_time AS timestamptz[]))
    ON CONFLICT (payout) DO NOTHING
""")
_LISTED = Query(
    """
    SELECT payout, amount_minor, currency, arrive_time, after FROM provider_payouts
    WHERE state = 'LISTED' AND provider = :provider ORDER BY payout LIMIT :limit
""",
    ListedPayout,
)
_ADVANCE_PAYOUT = Command("""
    UPDATE provider_payouts SET after = :next_after
    WHERE payout = :payout AND state = 'LISTED' AND after = :after
""")
_END_PAYOUT: Query[str] = Query(
    """
    UPDATE provider_payouts SET state = :state, difference_minor = :difference_minor, after = ''
    WHERE payout = :payout AND state = 'LISTED'
    RETURNING payout
""",
    scalar,
)
_SHARES = Query(
    """
    SELECT merchant, payout, currency,
           CAST(coalesce(sum(amount_minor) FILTER (WHERE type = 'CHARGE'), 0) AS bigint)
             AS charges_minor,
           CAST(coalesce(sum(amount_minor) FILTER (WHERE type LIKE 'REFUND%'), 0) AS bigint)
             AS refunds_minor,
           CAST(coalesce(sum(amount_minor) FILTER (WHERE type LIKE 'DISPUTE%'), 0) AS bigint)
             AS disputes_minor,
           CAST(coalesce(sum(amount_minor) FILTER (WHERE type = 'OTHER'), 0) AS bigint)
             AS others_minor,
           CAST(sum(fee_minor) AS bigint) AS fees_minor,
           CAST(count(*) AS integer) AS transaction_count
    FROM balance_transactions WHERE payout = :payout
    GROUP BY merchant, payout, currency ORDER BY merchant, currency
""",
    PayoutShare,
)
_INSERT_SHARES = Query(
    """
    INSERT INTO payouts (merchant, payout, currency, charges_minor, refunds_minor, disputes_minor,
                         others_minor, fees_minor, transaction_count, amount_minor, share,
                         arrive_time)
    SELECT *, CAST(:arrive_time AS timestamptz) FROM unnest(
        CAST(:merchant AS text[]), CAST(:payout AS text[]), CAST(:currency AS text[]),
        CAST(:charges_minor AS bigint[]), CAST(:refunds_minor AS bigint[]),
        CAST(:disputes_minor AS bigint[]), CAST(:others_minor AS bigint[]),
        CAST(:fees_minor AS bigint[]), CAST(:transaction_count AS integer[]),
        CAST(:amount_minor AS bigint[]), CAST(:share AS text[]))
    ON CONFLICT (merchant, payout, currency) DO NOTHING
    RETURNING merchant, payout, currency
""",
    _ShareId,
)


_PAYOUT = Query(
    """
    SELECT merchant, payout, currency, charges_minor, refunds_minor, disputes_minor, others_minor,
           fees_minor, transaction_count, arrive_time
    FROM payouts WHERE merchant = :merchant AND share = :share
""",
    Payout,
)
_PAYOUTS = Query(
    """
    SELECT merchant, payout, currency, charges_minor, refunds_minor, disputes_minor, others_minor,
           fees_minor, transaction_count, arrive_time
    FROM payouts
    WHERE merchant = :merchant
      AND (arrive_time, payout, currency)
          < (coalesce(CAST(:before_time AS timestamptz), 'infinity'), CAST(:before_payout AS text),
             CAST(:before_currency AS text))
    ORDER BY arrive_time DESC, payout DESC, currency DESC LIMIT :limit
""",
    Payout,
)


async def payout(tx: Connection, key: PayoutName) -> Payout | None:
    """A merchant's payout."""
    return await _PAYOUT.one_or_none(tx, merchant=key.merchant, share=key.share)


async def take_turn(
    tx: Connection,
    provider: str,
    listing_delay: timedelta,
    until_time: datetime,
    turn_seconds: float,
) -> Window | None:
    """The time to read now; None while another replica has just had its turn."""
    await _ENSURE.run(tx, provider=provider, listing_delay_days=listing_delay.days)
    return await _TAKE_TURN.one_or_none(
        tx, provider=provider, until_time=until_time, turn_seconds=turn_seconds
    )


async def advance(tx: Connection, window: Window, next_after: str) -> None:
    """Remember that a page was read."""
    await _ADVANCE.run(tx, **window._asdict(), next_after=next_after)


async def end_window(tx: Connection, window: Window) -> None:
    """Remember that a time was read as a whole."""
    await _END_WINDOW.run(tx, **window._asdict())


async def owners(tx: Connection, objects: Collection[str]) -> dict[str, Owner]:
    """Whose bank debits and refunds of them are, by the provider's ids."""
    if not objects:
        return {}
    rows = await _OWNERS.all(tx, objects=sorted(objects))
    return {row.object: Owner(row.merchant, row.customer, row.source) for row in rows}


async def listed_charges(tx: Connection, wanted: Collection[Owner]) -> dict[str, str]:
    """Which transaction brought each of the charges that are listed already."""
    rows = await _LISTED_CHARGES.all_for(tx, wanted)
    return {row.source: row.balance_transaction for row in rows}


async def insert(
    tx: Connection, provider: str, transactions: Sequence[BalanceTransaction]
) -> list[BalanceTransaction]:
    """Keep transactions; returns which were new."""
    new = set(await _INSERT.all_for(tx, transactions, provider=provider))
    return [
        transaction
        for transaction in transactions
        if _Id(transaction.merchant, transaction.customer, transaction.balance_transaction) in new
    ]


async def assign(tx: Connection, payout: str, transactions: Sequence[BalanceTransaction]) -> None:
    """Remember what a payout has paid out."""
    await _ASSIGN.run_for(tx, transactions, payout=payout)


async def insert_payouts(
    tx: Connection, provider: str, payouts: Collection[ProviderPayout]
) -> None:
    """Keep payouts whose transactions are to be read."""
    await _INSERT_PAYOUTS.run_for(tx, payouts, provider=provider)


async def listed_payouts(tx: Connection, provider: str, limit: int) -> list[ListedPayout]:
    """Payouts of a provider whose transactions are not all read."""
    return await _LISTED.all(tx, provider=provider, limit=limit)


async def advance_payout(tx: Connection, payout: ListedPayout, next_after: str) -> None:
    """Remember that a page of a payout's transactions was read."""
    await _ADVANCE_PAYOUT.run(tx, payout=payout.payout, after=payout.after, next_after=next_after)


async def end_payout(tx: Connection, payout: str, state: str, difference_minor: int) -> bool:
    """Remember that a payout was read as a whole; False if somebody else was quicker."""
    ended = await _END_PAYOUT.all(tx, payout=payout, state=state, difference_minor=difference_minor)
    return bool(ended)


async def shares(tx: Connection, payout: str) -> list[PayoutShare]:
    """What a payout brought to each merchant, and to nobody of whom we know."""
    return await _SHARES.all(tx, payout=payout)


async def insert_shares(
    tx: Connection, found: Sequence[PayoutShare], arrive_time: datetime
) -> list[PayoutShare]:
    """Keep what a payout brought to merchants; returns which were new."""
    new = set(await _INSERT_SHARES.all_for(tx, found, arrive_time=arrive_time))
    return [share for share in found if _ShareId(*share[:3]) in new]


async def payouts(
    tx: Connection, merchant: MerchantId, before: tuple[datetime | None, str, str], limit: int
) -> list[Payout]:
    """A merchant's payouts, the latest arrival first, before a time, id and currency."""
    before_time, before_payout, before_currency = before
    return await _PAYOUTS.all(
        tx,
        merchant=merchant,
        before_time=before_time,
        before_payout=before_payout,
        before_currency=before_currency,
        limit=limit,
    )
