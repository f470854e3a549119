"""What a merchant can show of a disputed charge: the facts that were stored when they happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.payments.domain.attempts import Attempt
from services.payments.domain.charges import Charge
from services.payments.domain.consent import Notice
from services.payments.domain.refunds import Refund
from services.payments.domain.transitions import RefundState
from services.runtime.money import format_minor

# A field of Stripe's, https://docs.stripe.com/api/disputes/evidence_object
FIELD_CHARACTERS_MAX = 20_000
# The first consent and the latest; their texts share so much of the field, and their hashes stand for
# what does not fit.
CONSENTS_MAX = 15
CONSENT_TEXTS_CHARACTERS_MAX = 9_000


@dataclass(frozen=True, slots=True)
class Consent:
    """What a customer agreed to when they gave a mandate, or had it amended."""

    text: str
    accept_time: datetime
    source: str
    # Where: WEB, PHONE and so on; empty: nobody said.
    channel: str = ""
    # Which version of the text that was, if somebody said, and its SHA-256.
    text_version: str = ""
    text_sha256: str = ""
    # Whether it was to a change of what they had agreed to before.
    amends: bool = False


@dataclass(frozen=True, slots=True)
class ChargeFacts:
    """What is stored of a charge that is disputed."""

    charge: Charge
    attempts: Sequence[Attempt]
    # Those that the charge was made under, the first one first; none: the customer confirmed the
    # charge, or they were erased.
    consents: Sequence[Consent]
    notice: Notice | None
    refunds: Sequence[Refund]
    brand: str
    last4: str


def assemble(facts: ChargeFacts, text: str) -> dict[str, str]:
    """The evidence by the provider's field: the merchant's own words, and all that was stored."""
    charge = facts.charge
    evidence = {
        "product_description": charge.title or charge.order_name,
        "service_date": charge.due_time.astimezone(UTC).date().isoformat(),
        "access_activity_log": "\n".join(_activities(facts))[:FIELD_CHARACTERS_MAX],
        "uncategorized_text": text,
    }
    return {name: value for name, value in evidence.items() if value}


def _activities(facts: ChargeFacts) -> Iterable[str]:
    """What happened, in the order of time: consents, notice, payment, refunds."""
    charge = facts.charge
    dated: list[tuple[datetime, str]] = []
    consents = _shown(facts.consents)
    for consent in consents:
        line = _agreed(consent, CONSENT_TEXTS_CHARACTERS_MAX // len(consents))
        dated.append((consent.accept_time, line))
    if (notice := facts.notice) is not None:
        promised = format_minor(notice.amount_minor, notice.currency)
        earliest = _written(notice.charge_not_before_time)
        line = (
            f"The customer was notified of a charge of at most {promised}, not before {earliest}."
        )
        dated.append((notice.deliver_time, line))
    amount = format_minor(charge.amount_minor, charge.currency)
    card = f" by {facts.brand} {facts.last4}".rstrip() if facts.last4 else ""
    for attempt in facts.attempts:
        outcome = attempt.state.lower().replace("_", " ")
        line = f"{amount}{card}: attempt {attempt.number} {outcome} {attempt.decline_code}".rstrip()
        dated.append((attempt.end_time or attempt.start_time, f"{line}."))
    for refund in facts.refunds:
        if refund.state is RefundState.SUCCEEDED:
            given = format_minor(refund.amount_minor, refund.currency)
            dated.append((refund.update_time, f"{given} was given back."))
    for moment, line in sorted(dated, key=lambda entry: entry[0]):
        yield f"{_written(moment)} {line}"


def _shown(consents: Sequence[Consent]) -> Sequence[Consent]:
    """The first consent, and of those to its amendments the latest."""
    if len(consents) <= CONSENTS_MAX:
        return consents
    return [consents[0], *consents[1 - CONSENTS_MAX :]]


def _agreed(consent: Consent, characters_max: int) -> str:
    where = f" ({consent.channel.lower()})" if consent.channel else ""
    where += f", by {consent.source}" if consent.source else ""
    version = f"version {consent.text_version}, " if consent.text_version else ""
    words = consent.text
    if len(words) > characters_max:
        words = f"{words[: characters_max - 1]}…"
    agreed = "agreed to a change of that" if consent.amends else "agreed to be charged"
    hashed = f"({version}SHA-256 {consent.text_sha256})"
    return f'The customer {agreed}{where}: "{words}" {hashed}'


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
