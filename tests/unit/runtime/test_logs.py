"""Records of the log, and records that callers could flood it with."""

import importlib
import inspect
import io
import json
import logging
import re
from asyncio import sslproto
from collections.abc import Iterator
from typing import Any

import pytest

from services.runtime.observability import structured_logging

GRPC = "grpc._cython.cygrpc"
# What gRPC raises has no public name.
cygrpc: Any = importlib.import_module(GRPC)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setattr(logging.root, "handlers", [])
    stream = io.StringIO()
    structured_logging.start_logging("catalog", stream)
    yield stream
    for name in (GRPC, "asyncio"):
        logging.getLogger(name).filters.clear()


def tell(name: str, error: Exception) -> None:
    try:
        raise error
    except type(error):
        logging.getLogger(name).exception("raised by servicer method")


@pytest.mark.parametrize("name", [GRPC, "asyncio"])
def test_an_answer_whose_caller_has_disconnected_is_not_logged(log: io.StringIO, name: str) -> None:
    tell(name, cygrpc.ExecuteBatchError("Failed to send"))
    assert log.getvalue() == ""


def test_a_tls_connection_that_the_broker_closes_is_not_logged(log: io.StringIO) -> None:
    message = "returning true from eof_received() has no effect when using ssl"
    assert message in "".join(re.findall(r"'(.*?)'", inspect.getsource(sslproto)))
    logging.getLogger("asyncio").warning(message)
    assert log.getvalue() == ""


def test_a_header_that_is_no_text_is_not_logged(log: io.StringIO) -> None:
    tell(GRPC, UnicodeDecodeError("utf-8", b"Bearer \xff", 7, 8, "invalid start byte"))
    assert log.getvalue() == ""


def test_a_task_of_our_own_that_cannot_read_is(log: io.StringIO) -> None:
    tell("asyncio", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))
    assert "invalid start byte" in json.loads(log.getvalue())["exception"]


@pytest.mark.parametrize("name", [GRPC, "asyncio"])
def test_other_records_of_grpc_are_logged(log: io.StringIO, name: str) -> None:
    tell(name, cygrpc.InternalError("out of order"))
    assert "out of order" in json.loads(log.getvalue())["exception"]
