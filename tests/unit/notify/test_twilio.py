"""Twilio's signatures and codes, by its own examples."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.clients.callbacks import CallbackRefusedError
from services.notify.clients.twilio import read, sign, verify
from services.notify.domain.receipts import Receipt, ReceiptStatus

# https://www.twilio.com/docs/usage/security: the token, the address and the fields of its example.
TOKEN = b"12345"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FIELDS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
REFERENCE = "merchants/acme/customers/ann/notices/n-1/deliveries/sms"


def test_the_signature_of_twilios_example_is_believed() -> None:
    verify(URL, urlencode(FIELDS).encode(), SIGNATURE, [b"another", TOKEN])


@pytest.mark.parametrize(
    ("url", "fields", "signature"),
    [
        (URL + "3", FIELDS, SIGNATURE),
        (URL, FIELDS | {"Digits": "1235"}, SIGNATURE),
        (URL, FIELDS | {"More": ""}, SIGNATURE),
        (URL, FIELDS, ""),
        (URL, FIELDS, None),
        (URL, FIELDS, SIGNATURE.lower()),
    ],
)
def test_what_was_signed_otherwise_is_refused(
    url: str, fields: dict[str, str], signature: str | None
) -> None:
    with pytest.raises(CallbackRefusedError):
        verify(url, urlencode(fields).encode(), signature, [TOKEN])


@given(st.binary(max_size=300), st.text(max_size=40))
def test_whatever_comes_is_verified_or_refused(body: bytes, signature: str) -> None:
    with pytest.raises(CallbackRefusedError):
        verify(URL, body, signature, [TOKEN])


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=5))
def test_what_is_signed_as_documented_is_believed(fields: dict[str, str]) -> None:
    signed = URL + "".join(name + fields[name] for name in sorted(fields))

    verify(URL, urlencode(fields).encode(), sign(signed, TOKEN), [TOKEN])


@pytest.mark.parametrize(
    ("status", "error_code", "receipt"),
    [
        ("queued", "", Receipt(ReceiptStatus.UNKNOWN, "SM1")),
        ("sent", "", Receipt(ReceiptStatus.UNKNOWN, "SM1")),
        ("delivered", "", Receipt(ReceiptStatus.DELIVERED, "SM1")),
        # The phone is off: the next message may arrive.
        ("undelivered", "30003", Receipt(ReceiptStatus.FAILED, "SM1", "30003")),
        # Nobody has the number.
        (
            "undelivered",
            "30005",
            Receipt(ReceiptStatus.FAILED, "SM1", "30005", is_permanent=True),
        ),
        ("failed", "", Receipt(ReceiptStatus.FAILED, "SM1", "failed")),
        ("of a later version", "", Receipt(ReceiptStatus.UNKNOWN, "SM1")),
    ],
)
def test_a_status_says_what_became_of_a_message(
    status: str, error_code: str, receipt: Receipt
) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": status, "ErrorCode": error_code}
    key, read_receipt = read(urlencode({"message": REFERENCE}), urlencode(form).encode())

    assert (key.notice, read_receipt) == ("n-1", receipt)


@pytest.mark.parametrize(
    ("query", "form"),
    [
        ("", {"MessageSid": "SM1"}),
        ("message=of-somebody", {"MessageSid": "SM1"}),
        (urlencode({"message": REFERENCE.replace("sms", "fax")}), {"MessageSid": "SM1"}),
        (urlencode({"message": REFERENCE}), {"MessageStatus": "delivered"}),
    ],
)
def test_a_status_of_no_message_of_ours_is_refused(query: str, form: dict[str, str]) -> None:
    with pytest.raises(CallbackRefusedError):
        read(query, urlencode(form).encode())
