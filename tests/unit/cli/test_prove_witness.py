"""The databases beside what the provider and the gateways have on record."""

from dataclasses import replace

import pytest

from cli.prove.findings import Verdict
from cli.prove.witness import (
    CAPTURED_AT_PROVIDER,
    NO_DELIVERY,
    Delivery,
    Message,
    Movement,
    judge_messages,
    judge_movements,
)

OURS = Movement("key-1", "attempt 1", 12_00, "EUR", "demo", moved=True)
THEIRS = Movement("key-1", "pi_1", 12_00, "EUR")
DELIVERY = Delivery("demo", "ada", "n-1", "RECEIPT", "SMS", "DELIVERED", 1)
[FIRST_KEY, SECOND_KEY] = sorted(DELIVERY.keys)
SENT = Message("SMS", FIRST_KEY)


def movements(*ours_and_theirs: Movement) -> Verdict:
    ours = [movement for movement in ours_and_theirs if movement.merchant]
    return judge_movements(
        CAPTURED_AT_PROVIDER, ours, [e for e in ours_and_theirs if not e.merchant]
    )


@pytest.mark.parametrize(
    ("pair", "in_motion"),
    [
        ((OURS, THEIRS), 0),
        ((replace(OURS, moved=False),), 0),
        # Its outcome is not known yet.
        ((replace(OURS, moved=None), THEIRS), 1),
        # The refund was given, and its id did not arrive.
        ((replace(OURS, key="", moved=None), THEIRS), 1),
        # It came back, and the provider will be asked.
        ((replace(OURS, may_come_back=True), replace(THEIRS, came_back=True)), 1),
        ((replace(OURS, moved=False), replace(THEIRS, came_back=True)), 0),
        # Made after the snapshot.
        ((OURS, THEIRS, replace(THEIRS, key="key-2", is_later=True)), 1),
    ],
    ids=["same", "declined", "unknown", "no id yet", "to be asked about", "came back", "later"],
)
def test_what_agrees_or_is_under_way_is_silent(pair: tuple[Movement, ...], in_motion: int) -> None:
    verdict = movements(*pair)
    assert (verdict.violations, verdict.in_motion) == ((), in_motion)


@pytest.mark.parametrize(
    "pair",
    [
        (OURS,),
        (THEIRS,),
        (OURS, THEIRS, THEIRS),
        (OURS, replace(THEIRS, amount_minor=12_01)),
        (OURS, replace(THEIRS, currency="USD")),
        (replace(OURS, moved=None, account="stripe-uk"), replace(THEIRS, account="stripe")),
        (replace(OURS, moved=False), THEIRS),
        (OURS, replace(THEIRS, came_back=True)),
        (replace(OURS, key="", moved=None), replace(THEIRS, amount_minor=1)),
    ],
    ids=[
        "not theirs",
        "not ours",
        "twice",
        "amount",
        "currency",
        "another account",
        "declined and taken",
        "came back",
        "another",
    ],
)
def test_a_difference_is_found(pair: tuple[Movement, ...]) -> None:
    assert len(movements(*pair).violations) == 1


@pytest.mark.parametrize(
    ("deliveries", "messages", "in_motion"),
    [
        ([DELIVERY], [SENT], 0),
        ([replace(DELIVERY, state="FAILED")], [], 0),
        # Sent, and its end is not stored yet.
        ([replace(DELIVERY, state="PENDING")], [SENT], 0),
        # To the phone that the customer bound second; of an erased one nobody knows how many.
        ([DELIVERY], [Message("SMS", SECOND_KEY)], 0),
        ([replace(DELIVERY, bound_phone_count=None)], [SENT], 0),
        # The first answer was lost, or who sent it died; before the next try another phone was bound.
        ([DELIVERY], [SENT, Message("SMS", SECOND_KEY)], 0),
        ([], [replace(SENT, is_later=True)], 1),
        ([replace(DELIVERY, state=NO_DELIVERY, bound_phone_count=None)], [], 0),
    ],
    ids=["sent", "failed", "pending", "second phone", "erased", "both phones", "later", "none"],
)
def test_what_was_sent_once_is_silent(
    deliveries: list[Delivery], messages: list[Message], in_motion: int
) -> None:
    verdict = judge_messages(deliveries, messages)
    assert (verdict.violations, verdict.in_motion) == ((), in_motion)


@pytest.mark.parametrize(
    ("deliveries", "messages"),
    [
        ([DELIVERY], []),
        ([DELIVERY], [SENT, SENT]),
        ([replace(DELIVERY, state="PENDING")], [SENT, SENT]),
        ([DELIVERY], [SENT, Message("SMS", "another")]),
        ([DELIVERY], [SENT, Message("EMAIL", FIRST_KEY)]),
        ([replace(DELIVERY, state=NO_DELIVERY, bound_phone_count=None)], [SENT]),
    ],
    ids=[
        "never",
        "twice",
        "twice and pending",
        "for no notice",
        "by another channel",
        "of a notice without deliveries",
    ],
)
def test_what_was_not_sent_once_is_found(
    deliveries: list[Delivery], messages: list[Message]
) -> None:
    assert len(judge_messages(deliveries, messages).violations) == 1
