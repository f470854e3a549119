"""What customers write back: which words are understood, and what each acts on."""

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.notices import CustomerId, CustomerKey, MerchantId, NoticeKind
from services.notify.domain.replies.decisions import (
    ANSWERS,
    OPTIONS_MAX,
    Act,
    Candidate,
    Question,
    decide,
    standing_order_of,
)
from services.notify.domain.replies.words import (
    NUMBER_DIGITS_MAX,
    WORDS,
    Reply,
    Word,
    folded,
    read_reply,
)

NOW = datetime(2026, 1, 28, 8, 0, tzinfo=UTC)
ANN = CustomerKey(MerchantId("acme"), CustomerId("ann"))
COFFEE, TEA = (f"merchants/acme/standingOrders/{name}/orders/1" for name in ("coffee", "tea"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SKIP", Word.SKIP), ("skip.", Word.SKIP), ("\uff33\uff2b\uff29\uff30", Word.SKIP),
        (" “Skip”! ", Word.SKIP),
        ("Überspringen", Word.SKIP), ("ueberspringen", Word.SKIP), ("跳过。", Word.SKIP),
        ("saltar", Word.SKIP), ("Passer", Word.SKIP), ("تخطى", Word.SKIP), ("تَخَطّي", Word.SKIP),
        ("PAUSE", Word.PAUSE), ("暫停", Word.PAUSE), ("إيقاف مؤقت", Word.PAUSE),
        ("Bezahlen", Word.PAY), ("付款", Word.PAY), ("pagar", Word.PAY), ("ادفع", Word.PAY),
        ("Stop", Word.STOP), ("ARRÊT", Word.STOP), ("arret", Word.STOP), ("退订", Word.STOP),
        ("ايقاف", Word.STOP), ("Unsubscribe!!!", Word.STOP), ("opt-out", Word.STOP),
        ("stop 🙂", Word.STOP), ("START", Word.START), ("Démarrer", Word.START),
        ("help?", Word.HELP), ("Hilfe", Word.HELP), ("مساعده", Word.HELP),
    ],
)  # fmt: skip
def test_a_word_is_understood_in_every_language_however_it_is_written(
    text: str, word: Word
) -> None:
    assert read_reply(text) == Reply(word)


@pytest.mark.parametrize("text", ["SKIP 2", "skip2", "Skip #2.", "跳过２", "تخطي ٢", "skip: 2)"])
def test_a_word_can_have_the_number_of_a_list(text: str) -> None:
    assert read_reply(text) == Reply(Word.SKIP, 2)


def test_a_number_alone_is_a_choice() -> None:
    assert read_reply(" 2. ") == Reply(None, 2)


@pytest.mark.parametrize(
    "text", ["stop sending me these messages", "Cancel my coffee, please", "STOP it. STOP IT " * 90]
)
def test_whoever_begins_with_stop_is_obeyed_whatever_follows(text: str) -> None:
    assert read_reply(text) == Reply(Word.STOP)


@pytest.mark.parametrize(
    "text", ["", "stopwatch", "I am driving", "skip the next two", "12 3", "123", "please stop?!a"]
)
def test_anything_else_is_nothing_that_is_known(text: str) -> None:
    assert read_reply(text) == Reply()


@given(st.text(max_size=60))
def test_every_text_is_a_word_a_number_both_or_neither(text: str) -> None:
    reply = read_reply(text)

    assert reply.word is None or reply.word in Word
    assert reply.number is None or 0 <= reply.number < 10**NUMBER_DIGITS_MAX


@given(st.text(max_size=60))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@given(
    st.sampled_from(sorted(WORDS)),
    st.text(string.punctuation + " \n\t…。", max_size=5),
    st.sampled_from([str.upper, str.lower, str.title]),
)
def test_case_and_what_stands_around_a_word_do_not_count(
    word: str, around: str, cased: object
) -> None:
    assert callable(cased)

    assert read_reply(around + cased(word) + around).word is WORDS[word]


# --- what a reply acts on ------------------------------------------------------------------------


def candidate(
    order: str = COFFEE, kind: NoticeKind = NoticeKind.ORDER_UPCOMING, *, is_live: bool = True
) -> Candidate:
    return Candidate(ANN, kind, order, "Coffee", NOW.date(), NOW - timedelta(1), is_live)


def test_the_one_order_that_is_coming_up_is_skipped() -> None:
    past = candidate(TEA, is_live=False)

    decision = decide(Reply(Word.SKIP), [past, candidate()], None)

    assert isinstance(decision, Act)
    assert decision.order == COFFEE


def test_of_several_orders_the_customer_is_asked_which() -> None:
    decision = decide(Reply(Word.SKIP), [candidate(), candidate(TEA), candidate()], None)

    assert isinstance(decision, Question)
    assert [(it.number, it.order) for it in decision.options] == [(1, COFFEE), (2, TEA)]


@pytest.mark.parametrize("reply", [Reply(Word.SKIP, 2), Reply(None, 2)])
def test_a_number_chooses_of_the_list_that_was_asked(reply: Reply) -> None:
    question = decide(Reply(Word.SKIP), [candidate(), candidate(TEA)], None)
    assert isinstance(question, Question)

    decision = decide(reply, [candidate(TEA), candidate()], question)

    assert isinstance(decision, Act)
    assert decision.order == TEA


def test_a_number_that_the_list_does_not_have_is_asked_again() -> None:
    question = decide(Reply(Word.SKIP), [candidate(), candidate(TEA)], None)
    assert isinstance(question, Question)

    assert decide(Reply(None, 7), [], question) == question


def test_a_number_chooses_nothing_of_a_list_for_another_word() -> None:
    question = decide(Reply(Word.SKIP), [candidate(), candidate(TEA)], None)
    assert isinstance(question, Question)

    assert decide(Reply(Word.PAY, 2), [candidate(), candidate(TEA)], question) is None


def test_an_order_that_is_over_is_tried_all_the_same_so_that_the_answer_says_why() -> None:
    decision = decide(Reply(Word.SKIP), [candidate(is_live=False)], None)

    assert isinstance(decision, Act)


def test_several_orders_of_one_standing_order_are_one_to_pause() -> None:
    second = COFFEE.replace("/1", "/2")

    decision = decide(Reply(Word.PAUSE), [candidate(second), candidate()], None)

    assert isinstance(decision, Act)
    assert standing_order_of(decision.order) == standing_order_of(COFFEE)


def test_what_is_no_request_to_pay_is_not_paid() -> None:
    assert decide(Reply(Word.PAY), [candidate()], None) is None


candidates = st.builds(
    candidate,
    st.sampled_from([COFFEE, TEA, COFFEE.replace("/1", "/2")]),
    st.sampled_from(sorted(NoticeKind)),
    is_live=st.booleans(),
)


@given(
    st.builds(Reply, st.none() | st.sampled_from(Word), st.none() | st.integers(0, 99)),
    st.lists(candidates, max_size=20),
)
def test_only_what_was_in_a_notice_that_the_word_answers_is_acted_on(
    reply: Reply, given_candidates: list[Candidate]
) -> None:
    decision = decide(reply, given_candidates, None)

    if isinstance(decision, Act):
        answered = [it for it in given_candidates if it.kind in ANSWERS[decision.word]]
        assert decision.order in {it.order for it in answered}
    elif isinstance(decision, Question):
        assert 1 <= len(decision.options) <= OPTIONS_MAX
    else:
        answers = ANSWERS.get(reply.word, frozenset()) if reply.word else frozenset()
        assert not any(it.kind in answers for it in given_candidates)
