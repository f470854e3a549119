"""What others said of charges, before or after they came: withdrawals and other mandates."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from services.payments.domain.charges import Charge, present_mandate
from services.payments.domain.keys import ChargeId, ChargeKey, CustomerId, MerchantId
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query


class _InstructionRow(NamedTuple):
    merchant: MerchantId
    customer: CustomerId
    charge: ChargeId
    withdrawn: bool
    mandate: str


_INSERT_WITHDRAWALS = Command("""
    INSERT INTO withdrawals (merchant, customer, charge, withdraw_time)
    SELECT *, CAST(:now AS timestamptz)
    FROM unnest(CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]))
    ON CONFLICT (customer, merchant, charge) DO NOTHING
""")

# What others said of charges, before or after they came.
_INSTRUCTIONS = Query(
    """
    SELECT merchant, customer, charge, withdraw_time IS NOT NULL AS withdrawn,
           coalesce(mandate, '') AS mandate
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge)
    LEFT JOIN withdrawals USING (customer, merchant, charge)
    LEFT JOIN mandate_changes USING (customer, merchant, charge)
""",
    _InstructionRow,
)

_WITHDRAWN = Query(
    """
    SELECT wanted.merchant, wanted.customer, wanted.charge
    FROM unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge)
    CROSS JOIN LATERAL (
        SELECT FROM withdrawals
        WHERE withdrawals.customer = wanted.customer AND withdrawals.merchant = wanted.merchant
          AND withdrawals.charge = wanted.charge
        OFFSET 0) AS withdrawal
""",
    ChargeKey,
)

# Events may come late: the latest change is what counts.
_INSERT_MANDATE_CHANGES = Command("""
    INSERT INTO mandate_changes (merchant, customer, charge, mandate, change_time)
    SELECT * FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:mandate AS text[]), CAST(:change_time AS timestamptz[]))
    ON CONFLICT (customer, merchant, charge) DO UPDATE
    SET mandate = excluded.mandate, change_time = excluded.change_time
    WHERE mandate_changes.change_time < excluded.change_time
""")


async def insert_withdrawals(tx: Connection, keys: Iterable[ChargeKey], now: datetime) -> None:
    """Remember that charges are not wanted any more, whether or not they are there yet."""
    await _INSERT_WITHDRAWALS.run_for(tx, sorted(set(keys)), now=now)


async def withdrawn(tx: Connection, keys: Collection[ChargeKey]) -> set[ChargeKey]:
    """Those of the charges that are not wanted any more."""
    return set(await _WITHDRAWN.all_for(tx, keys))


async def insert_mandate_changes(
    tx: Connection, changes: Mapping[ChargeKey, tuple[str, datetime]]
) -> None:
    """Remember under which mandates charges are to be made, whether or not they are there yet."""
    await _INSERT_MANDATE_CHANGES.run_for(
        tx,
        changes,
        mandate=[mandate for mandate, _ in changes.values()],
        change_time=[change_time for _, change_time in changes.values()],
    )


async def instructed(tx: Connection, charges: list[Charge]) -> list[Charge]:
    """Charges with what others said of them.

    Read after the locks were taken, so that nothing committed meanwhile is overlooked.
    """
    rows = await _INSTRUCTIONS.all_for(tx, charges)
    said = {ChargeKey(*row[:3]): (row.withdrawn, row.mandate) for row in rows}
    return [
        charge._replace(
            withdrawn=said[charge.key][0],
            mandate=present_mandate(charge, said[charge.key][1]),
        )
        for charge in charges
    ]
