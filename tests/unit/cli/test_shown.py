# ruff: noqa: RUF001 - texts in many scripts
"""What others wrote does not steer the terminal of who reads it."""

import io
import json
from contextlib import redirect_stdout

import pytest
from google.protobuf.json_format import Parse
from hypothesis import given
from hypothesis import strategies as st
from recurring.catalog.v1 import catalog_pb2

from cli.output import Output
from cli.shown import shown

STEERING = "\x1b[31m\x9b2J\u202egnp.exe\u2066\u200f\U000e0041"


def printed(*, as_json: bool) -> str:
    output = io.StringIO()
    with redirect_stdout(output):
        product = catalog_pb2.Product(name="merchants/demo/products/tea", title=f"Tea{STEERING}")
        Output(as_json=as_json).many([product], {"title": lambda it: it.title}, "nothing")
        Output(as_json=as_json).one(product, {"title": lambda it: it.title})
    return output.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_neither_a_table_nor_json_holds_what_steers(as_json: bool) -> None:  # noqa: FBT001
    text = printed(as_json=as_json)
    assert not set(STEERING) & set(text) - set("[31m2Jgnp.exe")
    assert "\\u001b[31m\\u009b2J\\u202egnp.exe\\u2066\\u200f\\udb40\\udc41" in text


def test_json_means_what_it_meant() -> None:
    output = io.StringIO()
    with redirect_stdout(output):
        Output(as_json=True).data({"title": STEERING})
    assert json.loads(output.getvalue()) == {"title": STEERING}
    read = Parse(output.getvalue(), catalog_pb2.Product())
    assert read.title == STEERING


@given(st.text())
def test_text_for_people_stays_as_it_is(text: str) -> None:
    assert shown(shown(text)) == shown(text)
    letters = "".join(character for character in text if character.isprintable())
    assert shown(letters) == letters


def test_joiners_and_lines_stay() -> None:
    assert shown("می\u200cخواهم\n\tශ්\u200dරී") == "می\u200cخواهم\n\tශ්\u200dරී"
