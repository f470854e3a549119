"""What answers a dispute: all that the provider's field can hold, in the order of time."""

from dataclasses import replace
from datetime import timedelta

from services.payments.domain.dispute_evidence import (
    CONSENTS_MAX,
    FIELD_CHARACTERS_MAX,
    ChargeFacts,
    Consent,
    assemble,
)
from tests.unit.payments.strategies import CHARGE, NOTICE, NOW

HOUR = timedelta(hours=1)
CONSENT = Consent("Charge me.", NOW - 400 * HOUR, "paper", "WEB", "v1", "0" * 64)
FACTS = ChargeFacts(CHARGE, [], [CONSENT], NOTICE, [], "visa", "4242")


def activities(facts: ChargeFacts) -> list[str]:
    return assemble(facts, "")["access_activity_log"].splitlines()


def test_a_consent_is_shown_with_its_channel_version_and_hash() -> None:
    assert activities(FACTS)[0] == (
        "2026-01-14 16:00 UTC The customer agreed to be charged (web), by paper:"
        f' "Charge me." (version v1, SHA-256 {"0" * 64})'
    )


def test_however_many_consents_there_are_the_first_the_latest_and_the_notice_are_shown() -> None:
    amended = [
        replace(
            CONSENT,
            text=f"{number}: " + 1990 * "x",
            source=200 * "s",
            accept_time=CONSENT.accept_time + number * HOUR,
            amends=True,
        )
        for number in range(1, 101)
    ]
    shown = activities(replace(FACTS, consents=[CONSENT, *amended]))
    assert len("\n".join(shown)) < FIELD_CHARACTERS_MAX
    consents = [line for line in shown if "SHA-256" in line]
    assert len(consents) == CONSENTS_MAX
    assert '"Charge me."' in consents[0]
    assert '"100: xxx' in consents[-1]
    assert "…" in consents[-1]
    assert "notified of a charge of at most 10.00 EUR" in shown[-1]
