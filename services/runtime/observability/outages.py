"""An outage is one line in a process's log, however many workers, consumers and calls meet it.

Each of them has a `Reporter`. The first that meets an outage logs it. The last that works again logs
its end. Any other failure is no outage, and is logged with its stack where it happens.
"""

import logging
import time

import asyncpg
import grpc
from nats.errors import Error as NatsError

from services.runtime.http_client import HttpError
from services.runtime.observability import error_format

log = logging.getLogger(__name__)

# An outage that changes its cause (refused, then a wrong password) is logged again, but not more often.
REPEAT_SECONDS = 60.0
DATABASE, BROKER, SERVICES, NETWORK = "database", "nats", "other services", "network"
_AWAY_STATUSES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# Classes of SQLSTATE. Out of reach: connection, resources, shut down or starting up; a standby, which
# another server has replaced.
_AWAY_STATES = ("08", "53", "57P", "25006")
# Hindered, too: rolled back for another transaction, lock not available, statement cancelled.
_OUTAGE_STATES = (*_AWAY_STATES, "40", "55", "57")


def out_of_reach(error: BaseException) -> str | None:
    """The name of what an error says is out of reach; None if it says something else."""
    if isinstance(error, BaseExceptionGroup):
        names = {out_of_reach(exception) for exception in error.exceptions}
        return names.pop() if len(names) == 1 else None
    if isinstance(error, NatsError):
        return BROKER
    if isinstance(error, grpc.aio.AioRpcError):
        return SERVICES if error.code() in _AWAY_STATUSES else None
    if isinstance(error, HttpError):
        return NETWORK
    # The driver raises OSError when it connects; an error of a file has a file name.
    is_file = isinstance(error, OSError) and bool(error.filename)
    return DATABASE if not is_file and _has_state(error, _AWAY_STATES) else None


def is_outage(error: BaseException) -> bool:
    """Whether the database is out of reach or hindered, so that the same will work later.

    Any other error (a broken constraint, a value out of range) comes from the statement itself.
    """
    return _has_state(error, _OUTAGE_STATES)


def _has_state(error: BaseException, states: tuple[str, ...]) -> bool:
    """Whether a database's error has one of the states, or the connection was lost or not made."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        # A migration has changed what the connection had prepared; it is replaced.
        return True
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(states)
    if isinstance(error, asyncpg.InterfaceError):
        # Unless a value does not fit its column.
        return not isinstance(error, ValueError)
    return isinstance(error, OSError | asyncpg.InternalClientError)


class Reporter:
    """Reports the outages that one worker, consumer or connection meets."""

    def __init__(self) -> None:
        self._met: str | None = None

    def failed(self, what: str, error: BaseException) -> None:
        """Report an outage, or that it lasts."""
        if self._met not in (None, what):
            self.works()
        self._met = what
        _outage(what).begin(self, error)

    def works(self) -> None:
        """Report that there is no outage any more."""
        if self._met is not None:
            _outage(self._met).end(self)
            self._met = None


class _Outage:
    """An outage of one thing, for as long as a reporter meets it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._reporters: set[Reporter] = set()
        self._logged = ""
        self._logged_at = 0.0

    def begin(self, reporter: Reporter, error: BaseException) -> None:
        self._reporters.add(reporter)
        self.log(error)

    def log(self, error: BaseException) -> None:
        reason, now = error_format.one_line(error), time.monotonic()
        is_old = now - self._logged_at >= REPEAT_SECONDS
        if not self._logged or (is_old and (reason != self._logged or not self._reporters)):
            log.warning("waiting for %s: %s", self._what, reason)
            self._logged, self._logged_at = reason, now

    def end(self, reporter: Reporter) -> None:
        self._reporters.discard(reporter)
        if not self._reporters and self._logged:
            log.info("%s: back", self._what)
            self._logged = ""


_outages: dict[str, _Outage] = {}


def _outage(what: str) -> _Outage:
    return _outages.setdefault(what, _Outage(what))


def note(what: str, error: BaseException) -> None:
    """Log an outage that a call has met, unless it is known; a call does not wait for its end."""
    _outage(what).log(error)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record is more than a library's own report of an outage, one for each connection."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or record.name.startswith("services.") or out_of_reach(error) is None
