"""What is read out of the contracts, and what must hold for them beyond what buf looks at."""

from datetime import UTC, date, datetime

import pytest

from protos import contracts
from protos.contracts import DEPRECATION, Contract, Element, reasons_in

NOTICE_DAYS = 365


@pytest.fixture(scope="module")
def read() -> dict[str, Contract]:
    return {contract.service: contract for contract in contracts.read()}


def faults(element: Element, today: date) -> list[str]:
    """What is wrong with a deprecation."""
    match = DEPRECATION.search(" ".join(element.comment.split()))
    if match is None:
        return [f"{element.name}: no `Deprecated since DATE, kept until DATE: what instead`"]
    since, until = map(date.fromisoformat, match.groups())
    if (until - since).days < NOTICE_DAYS:
        return [f"{element.name}: is kept for less than {NOTICE_DAYS} days"]
    return [f"{element.name}: was to be removed on {until}"] if until < today else []


def test_every_deprecation_carries_dates_that_still_hold(read: dict[str, Contract]) -> None:
    today = datetime.now(UTC).date()
    assert not [
        fault
        for contract in read.values()
        for element in contract.elements
        if element.deprecated
        for fault in faults(element, today)
    ]


@pytest.mark.parametrize(
    ("comment", "sound"),
    [
        ("Deprecated since 2027-03-01, kept until 2028-03-01: use `other`.", True),
        ("Deprecated since 2027-03-01,\nkept until 2028-03-01: use `other`.", True),
        ("Old.", False),
        ("Deprecated since 2027-03-01, kept until 2028-03-01:", False),
        ("Deprecated since 2027-03-01, kept until 2027-09-01: use `other`.", False),
        ("Deprecated since 2025-03-01, kept until 2026-03-01: use `other`.", False),
    ],
)
def test_a_deprecation_says_since_when_until_when_and_what_instead(
    comment: str, *, sound: bool
) -> None:
    assert (not faults(Element("old", comment, deprecated=True), date(2027, 4, 1))) is sound


def test_reasons_are_read_without_their_explanations() -> None:
    text = (
        "Reasons: NOT_FOUND ONE_GONE (unless SOME_ARE (NOT_ALL)); ABORTED TWO_OLD,\nTWO_NEW (ON)."
    )
    assert reasons_in(text) == {"ONE_GONE", "TWO_OLD", "TWO_NEW"}


def test_a_method_has_the_reasons_of_its_comment(read: dict[str, Contract]) -> None:
    methods = {method.id: method for method in read["catalog"].methods}
    assert methods["catalog.DiscontinueProduct"].reasons == {"PRODUCT_NOT_FOUND", "ETAG_MISMATCH"}
    assert not methods["catalog.ListProducts"].reasons


def test_every_method_says_its_reasons_or_only_lists(read: dict[str, Contract]) -> None:
    silent = {
        method.id
        for contract in read.values()
        for method in contract.methods
        if "Reasons:" not in method.comment
    }
    # A customer of whom nothing is known is erased already, so it is never refused for what is stored.
    silent.remove("notify.EraseCustomer")
    # What it cannot send again is skipped, and counted in the answer.
    silent.remove("notify.RedriveNotices")
    assert all(
        name.partition(".")[2].startswith(("List", "Batch", "Preview", "Get", "Simulate"))
        for name in silent
    )


def test_what_only_events_are_made_of_is_no_event(read: dict[str, Contract]) -> None:
    names = {event.name for event in read["payments"].events}
    assert "PaymentSucceeded" in names
    assert "ChargeRef" not in names
