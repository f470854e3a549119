"""`python -m services.payments.clients.rendering.worker`: renders what it is asked for, one at a time.

A request comes as its length and JSON, and is answered with the length and bytes of the file. It ends
with whoever asks. It needs no setting, no network and no file beside its own.
"""

import base64
import json
import os
import signal
import sys
from typing import Any, BinaryIO

from services.payments.clients.rendering.files import render, render_statement
from services.payments.clients.rendering.process import FILE_MAX_BYTES, LENGTH
from services.payments.domain.buyers import load_buyer
from services.payments.domain.documents import Seller, load_document
from services.payments.domain.statements import load_statement

NICENESS = 10


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while header := requests.read(LENGTH.size):
        (length,) = LENGTH.unpack(header)
        content = _answer(requests.read(length))
        answers.write(LENGTH.pack(len(content)) + content)
        answers.flush()


def _answer(request: bytes) -> bytes:
    asked = json.loads(request)
    content = _statement(asked) if "statement" in asked else _document(asked)
    if len(content) > FILE_MAX_BYTES:
        raise ValueError(f"a file of {len(content)} bytes; at most {FILE_MAX_BYTES}")
    return content


def _statement(asked: dict[str, Any]) -> bytes:
    name, address_lines, tax_id, logo_sha256 = asked["seller"]
    return render_statement(
        load_statement(asked["statement"]),
        Seller(name, tuple(address_lines), tax_id, logo_sha256),
        asked["footer"],
        asked["sha256"],
        asked["format"],
        asked["language_code"],
        base64.b64decode(asked["logo"]),
    )


def _document(asked: dict[str, Any]) -> bytes:
    return render(
        load_document(asked["document"].encode()),
        asked["sha256"],
        asked["format"],
        asked["language_code"],
        base64.b64decode(asked["logo"]),
        None if asked["buyer"] is None else load_buyer(asked["buyer"]),
    )


if __name__ == "__main__":
    # Whatever else there is to do comes first: a charge is never late for a page.
    os.nice(NICENESS)
    # The service is asked to stop; it has this process stop last.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)
