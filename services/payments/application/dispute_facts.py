"""What was stored of a disputed charge when it happened: consents, notice, attempts and refunds."""

from services.payments.clients.consents import read_consent
from services.payments.domain.attempts import NO_MANDATE, Attempt
from services.payments.domain.dispute_evidence import ChargeFacts, Consent
from services.payments.domain.keys import ChargeKey, MandateKey
from services.payments.domain.transitions import AttemptState
from services.payments.domain.verdicts import Verdict
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import mandate_amendments as amendment_store
from services.payments.store import mandates as mandate_store
from services.payments.store import notices as notice_store
from services.payments.store import payment_methods as payment_method_store
from services.payments.store import refunds as refund_store
from services.payments.store import verdicts as verdict_store
from services.payments.store.encrypted import amendment_aad, evidence_aad
from services.runtime.db.pool import Connection

REFUNDS_SHOWN_MAX = 100
AMENDMENTS_SHOWN_MAX = 100


async def read(tx: Connection, key: ChargeKey) -> ChargeFacts:
    """What is stored of a charge that is disputed, its evidence of consent opened."""
    [charge] = (await charge_store.by_key(tx, [key])).values()
    attempts = (await attempt_store.of_charges(tx, [key])).get(key, ())
    paid = [attempt for attempt in attempts if attempt.state is AttemptState.SUCCEEDED]
    methods = await payment_method_store.by_key(tx, [attempt.method_key for attempt in paid])
    method = next(iter(methods.values()), None)
    return ChargeFacts(
        charge=charge,
        attempts=attempts,
        consents=[it for attempt in paid for it in await _consents(tx, attempt)],
        notice=(await notice_store.latest(tx, [key])).get(key),
        refunds=await refund_store.of_charge(tx, key, "", REFUNDS_SHOWN_MAX),
        brand=method.brand if method else "",
        last4=method.last4 if method else "",
    )


async def _consents(tx: Connection, attempt: Attempt) -> list[Consent]:
    """What the customer had agreed to, at first and since, when an attempt was permitted."""
    if attempt.mandate == NO_MANDATE:
        return []
    key = MandateKey(attempt.merchant, attempt.customer, attempt.mandate)
    mandate = (await mandate_store.by_key(tx, [key])).get(key)
    consents = []
    if mandate is not None and mandate.evidence:
        consents.append(read_consent(tx.keyring.decrypt(mandate.evidence, *evidence_aad(key))))
    verdicts = (await verdict_store.of_charges(tx, [attempt.charge_key])).get(
        attempt.charge_key, ()
    )
    permitted = max(
        (it.mandate_version or 0 for it in verdicts if _permits(it, attempt)), default=0
    )
    amendments = await amendment_store.of_mandate(tx, key, AMENDMENTS_SHOWN_MAX)
    for amendment in reversed(amendments):
        if amendment.evidence and amendment.version <= permitted:
            aad = amendment_aad(key, amendment.version)
            opened = tx.keyring.decrypt(amendment.evidence, *aad)
            consents.append(read_consent(opened, amends=True))
    return consents


def _permits(verdict: Verdict, attempt: Attempt) -> bool:
    return (verdict.number, verdict.permit) == (attempt.number, attempt.permit)
