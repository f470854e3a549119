"""The sandbox as a witness from outside: what the provider and the gateways have on record.

The record is read after the snapshots, and so it may know more: what it did since then, or while an
outcome was still unknown, is on its way and no discrepancy.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.prove.clauses import Clause
from cli.prove.findings import Finding, Verdict
from cli.prove.moment import Moment
from cli.sandbox import Sandbox
from cli.values import format_minor, minor_digits

CAPTURED_AT_PROVIDER = Clause(
    "captured-at-provider",
    "Every attempt that succeeded, and no other, is one payment at its provider, of its amount.",
)
REFUNDED_AT_PROVIDER = Clause(
    "refunded-at-provider",
    "Every refund that succeeded, and no other, is one in its provider's books, of its amount.",
)
SENT_ONCE = Clause(
    "sent-once",
    "Every delivered notice is one message in its gateway's record, or one a phone where the "
    "customer bound another before it was known to be delivered; nothing else was sent.",
)
CLAUSES = (CAPTURED_AT_PROVIDER, REFUNDED_AT_PROVIDER, SENT_ONCE)
# How the first account and the provider of bank debits are called.
STRIPE = "stripe"
BANK_DEBIT = "bank-debit"
FOR_NO_NOTICE = "was sent for no notice"
FOR_NO_DELIVERY = "was sent, and notify knows of no delivery"
CHANNELS = ("SMS", "EMAIL")
# The state of what would be a delivery of a notice that has none.
NO_DELIVERY = ""
# How the key of a message follows from the delivery that it carries out.
MESSAGE_KEY_NAMESPACE = uuid.UUID("0c4f0c1e-7f0e-5f9c-8a55-6a4f3b0e9d27")
# Tried as the phones that a message may have gone to, where nobody knows how many were bound.
UNKNOWN_PHONE_COUNT = 64
# Where the provider counts in other decimals than ISO 4217 (https://docs.stripe.com/currencies).
_PROVIDER_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}

_ATTEMPTS = """
    SELECT merchant, charge_name || ' attempt ' || number AS name, idempotency_key AS key, state,
           amount_minor, currency, false AS may_come_back, provider AS account
    FROM audit_v1.attempts
"""
_REFUNDS = """
    SELECT merchant, name, provider_refund AS key, state, amount_minor - credit_minor AS amount_minor,
           currency, follow_up_time IS NOT NULL AS may_come_back, provider AS account
    FROM audit_v1.refunds WHERE amount_minor <> credit_minor
"""
_DELIVERIES = """
    SELECT merchant, customer, notice, kind, channel, state, bound_phone_count, digest_notice
    FROM audit_v1.deliveries
"""
# What was never to be sent, by what notify knows.
_WITHOUT_DELIVERIES = """
    SELECT merchant, customer, notice, kind FROM audit_v1.notices
    WHERE NOT EXISTS (
        SELECT FROM audit_v1.deliveries
        WHERE deliveries.customer = notices.customer AND deliveries.merchant = notices.merchant
          AND deliveries.notice = notices.notice)
"""


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that moved, or may have, as one of the two says."""

    # What the provider knows it by: our key of an attempt, the provider's id of a refund.
    key: str
    name: str
    amount_minor: int
    currency: str
    # Ours: whose it is, and whether it moved (None: not known yet).
    merchant: str = ""
    moved: bool | None = True
    # Ours: whether the provider will be asked again if it came back.
    may_come_back: bool = False
    # The provider's: whether it came back.
    came_back: bool = False
    # The provider's: whether it is later than the snapshots.
    is_later: bool = False
    # Which of the deployment's providers it is at.
    account: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that reached the outside world."""

    channel: str
    # Its Idempotency-Key or Message-ID.
    key: str
    is_later: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way through one channel."""

    merchant: str
    customer: str
    notice: str
    kind: str
    channel: str
    state: str
    # How many phones the customer has bound so far, each with a key of its own; None: nobody knows.
    bound_phone_count: int | None
    # The notice whose message says this one as well; empty: it has a message of its own.
    digest_notice: str = ""

    @property
    def name(self) -> str:
        """What it is called in a finding."""
        customer = f"merchants/{self.merchant}/customers/{self.customer}"
        return f"{self.channel} of {self.kind} {customer}/notices/{self.notice}"

    @property
    def keys(self) -> frozenset[str]:
        """The keys under which the gateway may know it, one a phone."""
        said_by = self.digest_notice or self.notice
        parts = (self.merchant, self.customer, said_by, self.channel)
        count = UNKNOWN_PHONE_COUNT if self.bound_phone_count is None else self.bound_phone_count
        return frozenset(
            str(uuid.uuid5(MESSAGE_KEY_NAMESPACE, "|".join((*parts, str(phone)))))
            for phone in range(count + 1)
        )


async def judge_witness(
    moment: Moment, sandbox: Sandbox, provider_key: str, accounts: Mapping[str, str]
) -> list[Verdict]:
    """How the databases stand beside the sandbox's record of every merchant.

    `accounts` are keys of the provider's accounts beside the first, by their names.
    """
    payments, notify = moment.snapshots["payments"], moment.snapshots["notify"]
    attempts = [_ours(row) for row in await payments.rows(_ATTEMPTS)]
    refunds = [_ours(row) for row in await payments.rows(_REFUNDS)]
    deliveries = [Delivery(**row) for row in await notify.rows(_DELIVERIES)]
    none = [
        Delivery(**row, channel=channel, state=NO_DELIVERY, bound_phone_count=None)
        for row in await notify.rows(_WITHOUT_DELIVERIES)
        for channel in CHANNELS
    ]
    keys = {STRIPE: provider_key, **accounts}
    listed = [
        [
            *[
                _theirs(entry, moment.now, account)
                for account, key in keys.items()
                async for entry in _provider(sandbox, path, key)
            ],
            *[_theirs(entry, moment.now, BANK_DEBIT) async for entry in _bank(sandbox, bank_path)],
        ]
        for path, bank_path in (
            ("/v1/payment_intents", "/record/bank-debits"),
            ("/v1/refunds", "/record/bank-refunds"),
        )
    ]
    messages = [
        *await _short_messages(sandbox, moment.now),
        *await _mail(sandbox, provider_key, moment.now),
    ]
    return [
        judge_movements(CAPTURED_AT_PROVIDER, attempts, listed[0]),
        judge_movements(REFUNDED_AT_PROVIDER, refunds, listed[1]),
        judge_messages([*deliveries, *none], messages),
    ]


def judge_movements(
    clause: Clause, ours: Iterable[Movement], theirs: Iterable[Movement]
) -> Verdict:
    """Whether what moved by our books moved by the provider's, once, and nothing else did."""
    by_key: dict[tuple[str, str], list[Movement]] = {}
    came_back = set()
    for each in theirs:
        if each.came_back:
            came_back.add(each.key)
        else:
            by_key.setdefault((each.account, each.key), []).append(each)
    findings, moving, checked = [], 0, 0
    # What is asked for and has no id of the provider's yet, by its amount.
    unanswered: Counter[tuple[int, str]] = Counter()
    for one in ours:
        found = by_key.pop((one.account, one.key), []) if one.key else []
        checked += one.moved is True
        if one.moved is None:
            moving += len(found)
            unanswered[one.amount_minor, one.currency] += not one.key
        elif one.moved and one.may_come_back and one.key in came_back:
            moving += 1
        elif one.moved:
            findings += _not_once(one, found)
        elif found and not all(each.is_later for each in found):
            findings.append(
                Finding(one.merchant, f"{one.name} did not succeed, and {found[0].name} took money")
            )
    left = [each for found in by_key.values() for each in found]
    strangers = [each for each in left if not each.is_later and not _asked_for(each, unanswered)]
    moving += len(left) - len(strangers)
    for each in strangers:
        amount = format_minor(each.amount_minor, each.currency)
        findings.append(Finding("", f"{each.name} of {amount} is none of ours"))
    return Verdict(clause, checked, tuple(findings), moving)


def _asked_for(theirs: Movement, unanswered: Counter[tuple[int, str]]) -> bool:
    """Whether it is what an unanswered request of its amount came to, which then counts as answered."""
    amount = theirs.amount_minor, theirs.currency
    found = unanswered[amount] > 0
    unanswered[amount] -= found
    return found


def judge_messages(deliveries: Iterable[Delivery], messages: Iterable[Message]) -> Verdict:
    """Whether every delivered notice was sent once, and nothing else was."""
    sent = Counter((message.channel, message.key) for message in messages)
    later = {(message.channel, message.key) for message in messages if message.is_later}
    known = set()
    findings, moving, checked = [], 0, 0
    for delivery in deliveries:
        places = [(delivery.channel, key) for key in delivery.keys]
        known.update(places)
        # Once a phone: a message whose answer was lost is sent again, and by then the customer may have
        # bound another.
        most = max(sent.get(place, 0) for place in places)
        checked += delivery.state == "DELIVERED"
        if delivery.state == NO_DELIVERY and most:
            findings.append(Finding(delivery.merchant, f"{delivery.name} {FOR_NO_DELIVERY}"))
        elif most > 1 or (delivery.state == "DELIVERED" and not most):
            findings.append(Finding(delivery.merchant, f"{delivery.name} was sent {most} times"))
    for channel, key in sent.keys() - known:
        if (channel, key) in later:
            moving += 1
        else:
            findings.append(Finding("", f"{channel} {key} {FOR_NO_NOTICE}"))
    return Verdict(SENT_ONCE, checked, tuple(findings), moving)


def provider_minor(amount: int, currency: str) -> int:
    """The provider's amount in minor units of ISO 4217."""
    digits = minor_digits(currency)
    theirs = _PROVIDER_DIGITS.get(currency, digits)
    return amount * int(10**digits) // int(10**theirs)


def _not_once(one: Movement, found: list[Movement]) -> list[Finding]:
    if len(found) != 1:
        return [Finding(one.merchant, f"{one.name} succeeded, the provider has {len(found)} of it")]
    [theirs] = found
    if (one.amount_minor, one.currency) == (theirs.amount_minor, theirs.currency):
        return []
    amounts = [format_minor(each.amount_minor, each.currency) for each in (one, theirs)]
    return [Finding(one.merchant, f"{one.name} took {amounts[0]}, {theirs.name} {amounts[1]}")]


def _ours(row: Mapping[str, Any]) -> Movement:
    moved = {"SUCCEEDED": True, "UNKNOWN": None, "PENDING": None}.get(row["state"], False)
    return Movement(
        row["key"],
        row["name"],
        row["amount_minor"],
        row["currency"],
        row["merchant"],
        moved,
        row["may_come_back"],
        account=row["account"],
    )


def _theirs(entry: Mapping[str, Any], now: datetime, account: str) -> Movement:
    currency = entry["currency"].upper()
    return Movement(
        entry["metadata"].get("attempt", "") or entry["id"],
        entry["id"],
        provider_minor(entry["amount"], currency),
        currency,
        account=account,
        came_back=entry["status"].upper() == "FAILED",
        is_later=datetime.fromtimestamp(entry["created"] + 1, UTC) > now,
    )


async def _provider(sandbox: Sandbox, path: str, api_key: str) -> Any:  # noqa: ANN401
    """The provider's own list of what moved, or did and came back."""
    listed = sandbox.listed(path, {}, cursor=("starting_after", "id"), api_key=api_key)
    async for entry in listed:
        if entry["status"].upper() in {"SUCCEEDED", "FAILED"}:
            yield entry


async def _bank(sandbox: Sandbox, path: str) -> Any:  # noqa: ANN401
    """What the provider of bank debits has moved, as the other lists it."""
    async for entry in sandbox.listed(path, {}, cursor=("after", "seq")):
        if entry["moved"] is not None:
            yield entry["moved"]


async def _short_messages(sandbox: Sandbox, now: datetime) -> list[Message]:
    """Every SMS that the gateway took; a repeated key that it answered as before is none."""
    requests = sandbox.listed("/record/requests", {"part": "sms"}, cursor=("after", "seq"))
    return [
        Message("SMS", request["key"], datetime.fromisoformat(request["at"]) >= now)
        async for request in requests
        if request["outcome"] in {"201", "201 dropped"}
    ]


async def _mail(sandbox: Sandbox, api_key: str, now: datetime) -> list[Message]:
    """Every mail; its Message-ID is <key@domain>."""
    listed = sandbox.listed("/mail/v1/messages", {}, api_key=api_key)
    return [
        Message(
            "EMAIL",
            message["message_id"].strip("<>").partition("@")[0],
            datetime.fromisoformat(message["created"]) >= now,
        )
        async for message in listed
    ]
