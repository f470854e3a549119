"""An outage is logged once by a process, and so is its end; other errors keep their stack."""

import logging

import asyncpg
import nats.errors
import pytest

from services.runtime.http_client import HttpError
from services.runtime.observability import outages
from services.runtime.observability.outages import (
    DATABASE,
    REPEAT_SECONDS,
    Reporter,
    is_news,
    is_outage,
    note,
    out_of_reach,
)

REFUSED = ConnectionRefusedError("refused")
DEADLOCK = asyncpg.DeadlockDetectedError("deadlock detected")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def quiet_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    # As a process begins.
    monkeypatch.setattr(outages, "_outages", {})
    caplog.set_level(logging.INFO)
    return caplog


def test_many_that_meet_an_outage_make_one_line_and_the_last_to_leave_another(
    quiet_log: pytest.LogCaptureFixture,
) -> None:
    workers = [Reporter() for _ in range(5)]
    for _ in range(3):
        for worker in workers:
            worker.failed(DATABASE, REFUSED)
        note(DATABASE, REFUSED)
    assert messages(quiet_log) == ["waiting for database: ConnectionRefusedError: refused"]
    for worker in workers[:-1]:
        worker.works()
    workers[0].failed(DATABASE, REFUSED)
    assert len(messages(quiet_log)) == 1
    for worker in workers:
        worker.works()
    assert messages(quiet_log)[1:] == ["database: back"]
    # The next one is news again.
    workers[0].failed(DATABASE, REFUSED)
    workers[0].works()
    assert len(messages(quiet_log)) == 4


def test_another_cause_is_logged_after_a_while(
    quiet_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    worker = Reporter()
    worker.failed(DATABASE, REFUSED)
    starting = asyncpg.CannotConnectNowError("the database system is starting up")
    worker.failed(DATABASE, starting)
    assert len(messages(quiet_log)) == 1
    now = REPEAT_SECONDS
    worker.failed(DATABASE, starting)
    worker.failed(DATABASE, starting)
    assert len(messages(quiet_log)) == 2
    worker.works()


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (REFUSED, outages.DATABASE),
        (TimeoutError(), outages.DATABASE),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), outages.DATABASE),
        (FileNotFoundError(2, "no such file", "key.pem"), None),
        (asyncpg.ConnectionDoesNotExistError("closed"), outages.DATABASE),
        (asyncpg.AdminShutdownError("shut down"), outages.DATABASE),
        (nats.errors.NoServersError(), outages.BROKER),
        (nats.errors.TimeoutError(), outages.BROKER),
        (HttpError(52, "empty reply"), outages.NETWORK),
        (ExceptionGroup("all", [REFUSED, REFUSED]), outages.DATABASE),
        (ExceptionGroup("both", [REFUSED, ValueError()]), None),
        (DEADLOCK, None),
        (asyncpg.QueryCanceledError("too long"), None),
        (ValueError("a bug"), None),
    ],
)
def test_an_error_says_what_is_out_of_reach(error: Exception, what: str | None) -> None:
    assert out_of_reach(error) == what


@pytest.mark.parametrize(("error", "news"), [(REFUSED, False), (DEADLOCK, True)])
def test_a_library_that_logs_an_outage_for_each_connection_is_passed_over(
    error: Exception, *, news: bool
) -> None:
    caught = (type(error), error, None)
    pool = logging.LogRecord("asyncpg.pool", logging.ERROR, "", 1, "terminating", (), caught)
    own = logging.LogRecord("services.x", logging.ERROR, "", 1, "failed", (), caught)
    assert is_news(pool) is news
    assert is_news(own)


def test_a_connection_that_was_cut_off_in_the_middle_of_a_statement_is_an_outage() -> None:
    cut_off = "cannot switch to state 15; another operation (2) is in progress"
    assert is_outage(asyncpg.InternalClientError(cut_off))
    assert out_of_reach(asyncpg.InternalClientError(cut_off)) == DATABASE
