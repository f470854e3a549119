"""What the guard said of attempts: added, and never changed."""

from collections.abc import Iterable, Sequence

from services.payments.domain.keys import ChargeKey
from services.payments.domain.verdicts import Verdict
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

# One verdict a sending of an attempt: that key is what makes a permit good for one.
_INSERT = Command("""
    INSERT INTO verdicts (merchant, customer, charge, number, permit, decide_time, reasons,
                          billing_mode, amount_minor, currency, payment_method, mandate,
                          mandate_version, charge_ceiling_minor, period_ceiling_minor, spent_minor,
                          last_charge_time, notice, notice_amount_minor, notice_currency,
                          charge_not_before_time, deliver_time, applied_rules, period_start_time)
    SELECT merchant, customer, charge, number, permit, decide_time, string_to_array(reasons, ','),
           billing_mode, amount_minor, currency, payment_method, mandate, mandate_version,
           charge_ceiling_minor, period_ceiling_minor, spent_minor, last_charge_time, notice,
           notice_amount_minor, notice_currency, charge_not_before_time, deliver_time, applied_rules,
           period_start_time
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:charge AS text[]),
        CAST(:number AS integer[]), CAST(:permit AS smallint[]), CAST(:decide_time AS timestamptz[]),
        CAST(:reasons AS text[]), CAST(:billing_mode AS text[]), CAST(:amount_minor AS bigint[]),
        CAST(:currency AS text[]), CAST(:payment_method AS text[]), CAST(:mandate AS text[]),
        CAST(:mandate_version AS integer[]), CAST(:charge_ceiling_minor AS bigint[]),
        CAST(:period_ceiling_minor AS bigint[]), CAST(:spent_minor AS bigint[]),
        CAST(:last_charge_time AS timestamptz[]), CAST(:notice AS text[]),
        CAST(:notice_amount_minor AS bigint[]), CAST(:notice_currency AS text[]),
        CAST(:charge_not_before_time AS timestamptz[]), CAST(:deliver_time AS timestamptz[]),
        CAST(:applied_rules AS jsonb[]), CAST(:period_start_time AS timestamptz[]))
      AS new (merchant, customer, charge, number, permit, decide_time, reasons, billing_mode,
              amount_minor, currency, payment_method, mandate, mandate_version, charge_ceiling_minor,
              period_ceiling_minor, spent_minor, last_charge_time, notice, notice_amount_minor,
              notice_currency, charge_not_before_time, deliver_time, applied_rules,
              period_start_time)
    ON CONFLICT (customer, merchant, charge, number, permit) DO NOTHING
""")

_OF_CHARGES = Query(
    """
    SELECT merchant, customer, charge, number, permit, decide_time, reasons, billing_mode,
           amount_minor, currency, payment_method, mandate, mandate_version, charge_ceiling_minor,
           period_ceiling_minor, spent_minor, period_start_time, last_charge_time, notice,
           notice_amount_minor, notice_currency, charge_not_before_time, deliver_time,
           applied_rules::text
    FROM verdicts
    JOIN unnest(CAST(:customer AS text[]), CAST(:merchant AS text[]), CAST(:charge AS text[]))
      AS wanted (customer, merchant, charge) USING (customer, merchant, charge)
    ORDER BY number, permit
""",
    Verdict,
)


async def insert(tx: Connection, verdicts: Sequence[Verdict]) -> None:
    """Add verdicts. One that is there for the same sending of an attempt stays as it is."""
    # Arrays of arrays must be even.
    reasons = [",".join(verdict.reasons) for verdict in verdicts]
    await _INSERT.run_for(tx, verdicts, reasons=reasons)


async def of_charges(tx: Connection, keys: Iterable[ChargeKey]) -> dict[ChargeKey, list[Verdict]]:
    """The verdicts on charges, the oldest first."""
    verdicts: dict[ChargeKey, list[Verdict]] = {}
    for verdict in await _OF_CHARGES.all_for(tx, set(keys)):
        verdicts.setdefault(verdict.charge_key, []).append(verdict)
    return verdicts
