"""The messages of a day: what can wait is held back and said together, and nothing is lost."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.frequency import CAP_WINDOW, allot, is_mandatory, next_free
from services.notify.domain.notices import NEVER_MUTED, Channel, NoticeKind
from services.notify.domain.quiet_hours import send_time
from services.notify.domain.templates.examples import EXAMPLES
from services.notify.domain.templates.rendering import (
    SMS_SEGMENTS_MAX,
    UNNAMED,
    rendered_digest,
)
from services.notify.domain.templates.segments import segments
from services.notify.domain.templates.shipped import SHIPPED
from services.runtime.quiet_hours import quiet_until

START = datetime(2026, 1, 28, 8, 0, tzinfo=UTC)
BERLIN = "Europe/Berlin"
OPTIONAL = NoticeKind.ORDER_SKIPPED

# How long after the one before a fact happens, and of which kind.
facts = st.lists(
    st.tuples(
        st.timedeltas(timedelta(), timedelta(hours=30)),
        st.sampled_from([OPTIONAL, OPTIONAL, NoticeKind.RECEIPT, NoticeKind.ORDER_UPCOMING]),
    ),
    min_size=1,
    max_size=25,
)


class Sent(NamedTuple):
    """A message that went out."""

    time: datetime
    facts: tuple[int, ...]
    mandatory: bool


def lived(wanted: list[tuple[timedelta, NoticeKind]], day_max: int) -> list[Sent]:
    """What a customer gets of facts, as the worker decides whenever something is due."""
    arrivals = []
    now = START
    for index, (gap, kind) in enumerate(wanted):
        now += gap
        until = None
        arrivals.append((send_time(kind, Channel.SMS, now, BERLIN, until), index, kind))
    messages: list[Sent] = []
    counted: list[datetime] = []
    due = [(time, index, False) for time, index, kind in arrivals if not is_mandatory(kind, None)]
    for time, index, kind in arrivals:
        if is_mandatory(kind, None):
            messages.append(Sent(time, (index,), mandatory=True))
    while due:
        now = min(time for time, _, _ in due)
        waiting = sorted(index for time, index, _ in due if time <= now)
        is_digest = any(held for time, _, held in due if time <= now)
        due = [entry for entry in due if entry[0] > now]
        out, held = allot(waiting, counted, day_max, now, is_digest=is_digest)
        messages += [Sent(now, tuple(said), mandatory=False) for said in out]
        counted += [now] * len(out)
        free = quiet_until(next_free(counted, day_max, now), BERLIN)
        due += [(free, index, True) for index in held]
    return messages


@given(wanted=facts, day_max=st.integers(1, 4))
def test_every_fact_is_in_one_message_and_no_day_has_too_many(
    wanted: list[tuple[timedelta, NoticeKind]], day_max: int
) -> None:
    messages = lived(wanted, day_max)
    times = sorted(message.time for message in messages if not message.mandatory)

    assert sorted(index for message in messages for index in message.facts) == list(
        range(len(wanted))
    )
    for time in times:
        assert sum(time - CAP_WINDOW < other <= time for other in times) <= day_max


@given(wanted=facts, day_max=st.integers(1, 4))
def test_what_is_mandatory_goes_out_as_if_there_were_no_cap(
    wanted: list[tuple[timedelta, NoticeKind]], day_max: int
) -> None:
    capped, free = lived(wanted, day_max), lived(wanted, 1000)

    assert [it for it in capped if it.mandatory] == [it for it in free if it.mandatory]


@given(wanted=facts, day_max=st.integers(1, 4))
def test_what_is_held_waits_for_a_day_and_a_night_at_most(
    wanted: list[tuple[timedelta, NoticeKind]], day_max: int
) -> None:
    happened = START
    times = []
    for gap, _ in wanted:
        happened += gap
        times.append(happened)
    for message in lived(wanted, day_max):
        for index in message.facts:
            assert message.time - times[index] <= CAP_WINDOW + timedelta(hours=22)


def test_what_cannot_be_muted_or_has_a_deadline_is_never_held() -> None:
    assert all(is_mandatory(kind, None) for kind in NEVER_MUTED)
    assert is_mandatory(NoticeKind.PAYMENT_DECLINED, START)
    assert not is_mandatory(NoticeKind.PAYMENT_DECLINED, None)


@given(
    kinds=st.lists(
        st.sampled_from([kind for kind in NoticeKind if not is_mandatory(kind, None)]),
        min_size=2,
        max_size=40,
    ),
    locale=st.sampled_from(sorted(SHIPPED)),
)
def test_an_sms_says_as_many_as_fit_and_how_many_more_there_are(
    kinds: list[NoticeKind], locale: str
) -> None:
    said = [EXAMPLES[kind] for kind in kinds]
    sms = rendered_digest(said, Channel.SMS, locale, "Ann", UNNAMED)
    email = rendered_digest(said, Channel.EMAIL, locale, "Ann", UNNAMED)

    assert segments(sms.text).segment_count <= SMS_SEGMENTS_MAX
    assert "Ann" in sms.text
    assert email.subject == SHIPPED[locale].words.digest_subject
