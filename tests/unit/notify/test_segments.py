# ruff: noqa: RUF001 - characters that look alike
"""How an SMS is encoded, and in how many segments it travels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.templates.segments import Encoding, encoding_of, plain, segments

GSM_7, UCS_2 = Encoding.GSM_7, Encoding.UCS_2


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", GSM_7, 1),
        ("a" * 160, GSM_7, 1),
        ("a" * 161, GSM_7, 2),
        ("a" * 306, GSM_7, 2),
        ("a" * 307, GSM_7, 3),
        # A euro sign is an escape and a character, which stay in one segment.
        ("€" * 80, GSM_7, 1),
        ("a" * 152 + "€" + "a" * 152, GSM_7, 3),
        ("äöüßé", GSM_7, 1),
        # Not in the alphabet.
        ("ç", UCS_2, 1),
        ("茶" * 70, UCS_2, 1),
        ("茶" * 71, UCS_2, 2),
        # Two units, which stay in one segment.
        ("😀" * 35, UCS_2, 1),
        ("茶" * 66 + "😀" + "茶" * 66, UCS_2, 3),
    ],
)
def test_an_sms_is_counted_as_phones_do(text: str, encoding: Encoding, count: int) -> None:
    assert segments(text) == (encoding, count)


def test_typography_alone_does_not_make_an_sms_longer() -> None:
    assert plain("“Tea” – it’s 5\u202f€…") == '"Tea" - it\'s 5 €...'


def test_a_text_of_another_script_keeps_its_typography() -> None:
    assert plain("茶 “好”…") == "茶 “好”…"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        # One segment either way.
        ("El próximo pedido está en camino.", "El próximo pedido está en camino."),
        ("El próximo pedido está en camino. " * 3, "El proximo pedido esta en camino. " * 3),
        ("Votre commande coûte ça, cœur. " * 3, "Votre commande coute ca, coeur. " * 3),
        # Letters that the alphabet has keep what is on them.
        ("Año, été, größer, así " * 5, "Año, été, größer, asi " * 5),
        # Without accents it would take as many: other letters need another alphabet all the same.
        ("Łukasz está aquí. " * 5, "Łukasz está aquí. " * 5),
    ],
)
def test_accents_are_left_out_where_that_saves_a_segment(text: str, sent: str) -> None:
    assert plain(text) == sent


@given(st.text("aáéñçœ€“茶", max_size=200))
def test_a_plain_text_never_takes_more_segments(text: str) -> None:
    assert segments(plain(text)).segment_count <= segments(text).segment_count


@given(st.text())
def test_a_plainer_text_is_never_longer_to_send_by_its_encoding(text: str) -> None:
    assert encoding_of(text) is UCS_2 or plain(text) == text
