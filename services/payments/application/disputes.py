"""Disputes: looked up, booked, answered and accepted."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.payments import publishers
from services.payments.application import dispute_facts, mandates, revenue
from services.payments.clients.provider import DisputeProvider, Provider
from services.payments.domain.attempts import Attempt
from services.payments.domain.charges import Charge
from services.payments.domain.consent import PauseReason
from services.payments.domain.dispute_evidence import assemble
from services.payments.domain.disputes import (
    ANSWERABLE,
    Dispute,
    DisputeLookup,
    DisputePolicy,
    DisputeReport,
    DisputeResponse,
    NotDisputed,
    dispute_id,
    keeps_paused,
    new_dispute,
    next_lookup_time,
    questions_mandate,
    reported,
)
from services.payments.domain.idempotent_retries import KEY_RELIED_ON
from services.payments.domain.keys import ChargeKey, DisputeKey, DisputeName, MandateKey
from services.payments.domain.ledger import book_reinstatement, book_withdrawal
from services.payments.domain.outcomes import Declined, Unknown, retry_delay
from services.payments.domain.revenue import changed_by
from services.payments.domain.transfers import Transfer
from services.payments.domain.transitions import OPEN_ATTEMPTS, AttemptState
from services.payments.names import DISPUTE_POLICY
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import dispute_lookups as lookup_store
from services.payments.store import disputes as store
from services.payments.store import ledger as ledger_store
from services.payments.store import revenue as revenue_store
from services.payments.store.encrypted import dispute_evidence_aad
from services.runtime.crypto.encryption import UnreadableError, encrypt
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import not_found, wrong_state
from services.runtime.messaging import outbox
from services.runtime.messaging.events import OutboxEvent
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag
from services.runtime.transitions import IllegalTransitionError
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

# How often a process lists new disputes, should their webhooks never come.
LIST_POLL_SECONDS = 300.0
LIST_DEADLINE_SECONDS = 120.0
# Listed again each time: what was opened shortly before may have been missed, and clocks differ.
LISTED_AGAIN = timedelta(hours=1)
# The first time.
LISTED_FIRST = timedelta(days=120)
UNKNOWN_PAYMENT = "payments did not make the payment"
CONTRADICTED = "it cannot have come to that state"

Found = DisputeReport | NotDisputed | Unknown | None
Lookup = tuple[DisputeLookup, Found]
Sent = tuple[Dispute, DisputeReport | Declined | Unknown]


async def existing(connection: Connection, name: DisputeName, *, lock: bool = False) -> Dispute:
    """A dispute. Raises NOT_FOUND DISPUTE_NOT_FOUND."""
    found = await store.by_name(connection, name)
    if found is not None and lock:
        found = (await store.locked(connection, [found.key])).get(found.key)
    if found is None:
        raise not_found("DISPUTE_NOT_FOUND", name.name)
    return found


# --- what the provider says ----------------------------------------------------------------------


async def look_up(provider: Provider, lookup: DisputeLookup) -> Found:
    """What the provider has of a dispute."""
    if not isinstance(provider, DisputeProvider):
        return Unknown("the provider has no disputes")
    return await provider.dispute(lookup.provider_dispute)


async def settle(tx: Connection, lookups: Sequence[Lookup], now: datetime) -> None:
    """Write what the provider shows of disputes. What is known already is not written again."""
    attempts = await _attempts(tx, [it for _, it in lookups if isinstance(it, DisputeReport)])
    lookups = [(lookup, _followed(found, attempts)) for lookup, found in lookups]
    reports = [report for _, report in lookups if isinstance(report, DisputeReport)]
    made = {a.provider_payment: a for of_charge in attempts.values() for a in of_charge}
    findings = await _record(tx, reports, made, now)
    done: list[DisputeLookup] = []
    times: list[datetime | None] = []
    for lookup, report in lookups:
        if isinstance(report, NotDisputed):
            done.append(replace(lookup, try_count=0, finding=""))
            times.append(None)
            continue
        if isinstance(report, Unknown):
            done.append(replace(lookup, try_count=lookup.try_count + 1))
            times.append(now + retry_delay(lookup.try_count))
            continue
        finding = findings.get(lookup.provider_dispute, "") if report else UNKNOWN_PAYMENT
        if finding and finding != lookup.finding:
            log.error(
                "a dispute is to be looked at",
                extra={"dispute": lookup.provider_dispute, "became": finding},
            )
        done.append(replace(lookup, try_count=0, finding=finding))
        known = report is not None and finding != UNKNOWN_PAYMENT
        times.append(next_lookup_time(report, now) if known and report else None)
    await lookup_store.finish(tx, done, times)


async def _attempts(
    tx: Connection, reports: Sequence[DisputeReport]
) -> dict[ChargeKey, list[Attempt]]:
    return await attempt_store.of_charges(tx, {r.charge for r in reports if r.charge})


def _followed(found: Found, attempts: Mapping[ChargeKey, Sequence[Attempt]]) -> Found:
    """What is made of a report: it waits for the outcome of its attempt.

    An attempt that was declined brought nothing that could be taken back.
    """
    if not isinstance(found, DisputeReport) or found.charge is None:
        return found
    of_charge = attempts.get(found.charge, ())
    made = [a for a in of_charge if a.provider_payment == found.provider_payment]
    if any(attempt.state is AttemptState.SUCCEEDED for attempt in made):
        return found
    if any(attempt.state in OPEN_ATTEMPTS for attempt in of_charge):
        return Unknown("the attempt has no outcome yet")
    return NotDisputed() if made else found


async def _record(
    tx: Connection,
    reports: Sequence[DisputeReport],
    attempts: Mapping[str, Attempt],
    now: datetime,
) -> dict[str, str]:
    """Write what has changed; returns what people have to look at, by the provider's id."""
    findings = {
        report.provider_dispute: UNKNOWN_PAYMENT
        for report in reports
        if report.provider_payment not in attempts
    }
    of_ours = {
        _key(report, attempts[report.provider_payment]): report
        for report in reports
        if report.provider_payment in attempts
    }
    made = {key: attempts[report.provider_payment] for key, report in of_ours.items()}
    # Refunds lock their charge as well: each counts what the other has taken.
    charges = await charge_store.locked(tx, {attempt.charge_key for attempt in made.values()})
    before = await store.locked(tx, of_ours)
    after: dict[DisputeKey, Dispute] = {}
    for key, report in of_ours.items():
        known = before.get(key)
        if known is None:
            attempt = made[key]
            after[key] = new_dispute(report, attempt.charge_key, attempt.mandate, now)
            continue
        try:
            after[key] = reported(known, report, now)
        except IllegalTransitionError:
            findings[report.provider_dispute] = CONTRADICTED
    new = await store.insert(tx, [after[key] for key in sorted(after) if key not in before])
    changed = [key for key in sorted(before) if key in after and after[key] != before[key]]
    await _save(tx, [after[key] for key in changed], now)
    events: list[OutboxEvent] = []
    written = sorted({*new, *changed})
    paused = await _change_mandates(tx, [(before.get(key), after[key]) for key in written], now)
    for key in written:
        was, dispute = before.get(key), after[key]
        events += publishers.dispute_changed(
            was,
            dispute,
            charges[dispute.charge_key],
            now,
            mandate_paused=dispute.mandate_key in paused,
        )
    await _book(tx, [(before.get(key), after[key]) for key in written], charges, now)
    await outbox.put(tx, events)
    return findings


async def _book(
    tx: Connection,
    changes: Sequence[tuple[Dispute | None, Dispute]],
    charges: Mapping[ChargeKey, Charge],
    now: datetime,
) -> None:
    """Book what the provider took for payers' banks, and what it gave back."""
    taken = [d for was, d in changes if d.withdraw_time and not (was and was.withdraw_time)]
    returned = [d for was, d in changes if d.reinstate_time and not (was and was.reinstate_time)]
    keys = {dispute.charge_key for dispute in (*taken, *returned)}
    deferrals = await revenue_store.locked(tx, keys)
    given_back = await ledger_store.given_back(tx, deferrals.keys())
    of_charges: dict[ChargeKey, list[Transfer]] = {key: [] for key in keys}
    for dispute in taken:
        key = dispute.charge_key
        deferral = deferrals.get(key)
        present = deferral and changed_by(deferral, of_charges[key], now)
        refunded = given_back.get(key, Counter())
        of_charges[key] += book_withdrawal(dispute, charges[key], refunded, now, present)
    withdrawals = await ledger_store.of_disputes(tx, returned)
    withdrawals += [it for booked in of_charges.values() for it in booked]
    for dispute in returned:
        of_dispute = [it for it in withdrawals if it.source == dispute.name]
        of_charges[dispute.charge_key] += book_reinstatement(of_dispute, now)
    await ledger_store.book(tx, [it for booked in of_charges.values() for it in booked])
    await revenue.save_changes(tx, deferrals, of_charges, now)


async def _change_mandates(
    tx: Connection, changes: Sequence[tuple[Dispute | None, Dispute]], now: datetime
) -> set[MandateKey]:
    """Pause the mandates of what is disputed, and resume those of what is over, by policy.

    Only where a state has changed: else a mandate that was resumed by hand stays so. Returns those
    under which nothing is charged.
    """
    disputes = [it for was, it in changes if was is None or was.state is not it.state]
    policies = {d.merchant: await store.policy(tx, d.merchant) for d in disputes}
    paused: set[MandateKey] = set()
    resumed: set[MandateKey] = set()
    for dispute in disputes:
        if questions_mandate(dispute):
            keeps = keeps_paused(dispute.state, policies[dispute.merchant].charging)
            (paused if keeps else resumed).add(dispute.mandate_key)
    # Another charge under it may be disputed still, or was lost since it is paused.
    stopped = paused | await store.stopped(tx, resumed)
    stopped |= await store.lost_since_pause(tx, resumed)
    await mandates.pause_all(tx, paused, PauseReason.DISPUTED, now)
    await mandates.resume_all(tx, resumed - stopped, PauseReason.DISPUTED, now)
    return stopped


def _key(report: DisputeReport, attempt: Attempt) -> DisputeKey:
    dispute = dispute_id(report.provider, report.provider_dispute)
    return DisputeKey(attempt.merchant, attempt.customer, dispute)


async def list_new(database: Database, clock: Clock, provider: Provider) -> None:
    """Have looked up what a provider lists as new, should its webhooks never come."""
    if not isinstance(provider, DisputeProvider):
        return
    now, name = clock.now(), provider.name
    async with database.read() as connection:
        through = await lookup_store.listed_through(connection, name)
    since = through - LISTED_AGAIN if through else now - LISTED_FIRST
    async for listed in provider.disputes_since(since):
        if isinstance(listed, Unknown):
            log.warning("disputes were not listed", extra={"why": listed.why})
            return
        known_anew = [
            DisputeLookup(name, it.provider_dispute) for it in listed if it.is_decided_anew
        ]
        opened = [
            DisputeLookup(name, it.provider_dispute) for it in listed if not it.is_decided_anew
        ]
        async with database.begin() as tx:
            await lookup_store.add(tx, opened, now)
            await lookup_store.hint(tx, known_anew, now)
    async with database.begin(wake_workers=False) as tx:
        await lookup_store.list_through(tx, name, now)


# --- what the merchant says ----------------------------------------------------------------------


async def submit_evidence(
    tx: Connection, name: DisputeName, text: str, now: datetime
) -> Applied[Dispute]:
    """Answer a dispute with all that is stored of its charge; it is sent within moments, once.

    Raises NOT_FOUND DISPUTE_NOT_FOUND, FAILED_PRECONDITION DISPUTE_STATE.
    """
    dispute = await _answerable(tx, name, now)
    facts = await dispute_facts.read(tx, dispute.charge_key)
    evidence = json.dumps(assemble(facts, text), sort_keys=True)
    encrypted = encrypt(tx, evidence, *dispute_evidence_aad(dispute.key))
    return await _respond(tx, dispute, DisputeResponse.EVIDENCE, encrypted, now)


async def accept(tx: Connection, name: DisputeName, now: datetime) -> Applied[Dispute]:
    """Give a dispute up: it is lost as soon as the provider knows.

    Raises NOT_FOUND DISPUTE_NOT_FOUND, FAILED_PRECONDITION DISPUTE_STATE.
    """
    dispute = await _answerable(tx, name, now)
    return await _respond(tx, dispute, DisputeResponse.ACCEPTANCE, b"", now)


async def _answerable(tx: Connection, name: DisputeName, now: datetime) -> Dispute:
    dispute = await existing(tx, name, lock=True)
    if dispute.response is not DisputeResponse.NONE and not dispute.response_failure:
        raise wrong_state("DISPUTE_STATE", "it was answered already")
    if dispute.state not in ANSWERABLE:
        raise wrong_state("DISPUTE_STATE", f"nothing is to be answered: it is {dispute.state}")
    if dispute.evidence_due_time is not None and now >= dispute.evidence_due_time:
        raise wrong_state("DISPUTE_STATE", "the time for an answer is over")
    return dispute


async def _respond(
    tx: Connection, dispute: Dispute, response: DisputeResponse, evidence: bytes, now: datetime
) -> Applied[Dispute]:
    answered = replace(
        dispute,
        response=response,
        response_time=now,
        response_send_time=None,
        response_failure="",
        evidence=evidence,
        send_count=0,
        update_time=now,
    )
    await _save(tx, [answered], now)
    return Applied(answered, before=dispute)


# --- sending it ----------------------------------------------------------------------------------


async def send(
    database: Database, now: datetime, provider: Provider, dispute: Dispute
) -> DisputeReport | Declined | Unknown:
    """Send a response; one that was sent before is looked for first, since keys are forgotten.

    So is one whose key would be forgotten by now: whoever sent it may have ended before that was
    stored. Evidence that does not open holds up no other: its key may come back.
    """
    if not isinstance(provider, DisputeProvider):
        return Unknown("the provider has no disputes")
    key_end = (dispute.response_time or now) + KEY_RELIED_ON
    if (dispute.send_count or now >= key_end) and (
        found := await _found_answered(provider, dispute)
    ):
        return found
    sent = await _send(database, provider, dispute)
    if isinstance(sent, Declined) and dispute.send_count:
        # Since what was sent before came only now, perhaps.
        return await _found_answered(provider, dispute) or sent
    return sent


async def _send(
    database: Database, provider: DisputeProvider, dispute: Dispute
) -> DisputeReport | Declined | Unknown:
    if dispute.response is DisputeResponse.ACCEPTANCE:
        return await provider.accept_dispute(dispute)
    if not dispute.evidence:
        return Declined("evidence_erased", hard=True)
    try:
        opened = database.keyring.decrypt(dispute.evidence, *dispute_evidence_aad(dispute.key))
    except UnreadableError:
        return Unknown("the evidence does not open")
    return await provider.answer_dispute(dispute, json.loads(opened))


async def _found_answered(
    provider: DisputeProvider, dispute: Dispute
) -> DisputeReport | Unknown | None:
    """A dispute whose response the provider has, or does not want any more; None: it is to be sent."""
    found = await provider.dispute(dispute.provider_dispute)
    if not isinstance(found, DisputeReport):
        gone = Unknown("the dispute is not found any more")
        return found if isinstance(found, Unknown) else gone
    return found if found.is_answered or found.state not in ANSWERABLE else None


async def settle_sent(tx: Connection, outcomes: Sequence[Sent], now: datetime) -> None:
    """Write what became of responses, and have the disputes looked up that have changed by them."""
    present = await store.locked(tx, [dispute.key for dispute, _ in outcomes])
    answered = []
    for dispute, outcome in outcomes:
        known = present[dispute.key]
        if known.response_time != dispute.response_time:
            continue
        if isinstance(outcome, DisputeReport):
            answered.append(replace(known, response_send_time=now, update_time=now))
        elif isinstance(outcome, Declined):
            answered.append(replace(known, response_failure=outcome.code, update_time=now))
        else:
            answered.append(replace(known, send_count=known.send_count + 1))
    await _save(tx, answered, now)
    sent = [d for d in answered if d.response_send_time or d.response_failure]
    lookups = [DisputeLookup(d.provider, d.provider_dispute) for d in sent]
    await lookup_store.hint(tx, lookups, now)


async def _save(tx: Connection, disputes: Sequence[Dispute], now: datetime) -> None:
    await store.save(tx, disputes, [_next_send_time(dispute, now) for dispute in disputes])


def _next_send_time(dispute: Dispute, now: datetime) -> datetime | None:
    """When a response is sent, or sent again; None: it was taken or refused, or there is none."""
    is_open = dispute.response is not DisputeResponse.NONE
    if not is_open or dispute.response_send_time or dispute.response_failure:
        return None
    return now + retry_delay(dispute.send_count - 1) if dispute.send_count else now


# --- policy --------------------------------------------------------------------------------------


async def change_policy(
    tx: Connection, wanted: DisputePolicy, present_etag: str
) -> Applied[DisputePolicy]:
    """Change a merchant's policy as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await store.policy(tx, wanted.merchant, lock=True)
    check_etag(present_etag, present.version, DISPUTE_POLICY.format(wanted.merchant))
    return Applied(await store.change_policy(tx, wanted), present)
