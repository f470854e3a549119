"""An outage is one line in a process's log, however many workers, consumers and calls meet it.

Each of them has a `Reporter`. The first that meets an outage has it logged; the others join it, and
once the last of them works again the end is logged. Anything else that fails is no outage, and is
logged with its stack by whoever met it.
"""

import logging
import time

import aiohttp
import asyncpg
import grpc
from nats.errors import Error as NatsError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.runtime.observability import error_format

log = logging.getLogger(__name__)

# An outage that changes its cause (refused, then a wrong password) is told again, but not more often.
REPEAT_SECONDS = 60.0
DATABASE, BROKER, SERVICES, NETWORK = "database", "nats", "other services", "network"
# SQLSTATE: connection, resources, shut down or starting up. No deadlock, and no statement that took too
# long.
_AWAY_STATES = ("08", "53", "57P")
_AWAY_STATUSES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def out_of_reach(error: BaseException) -> str | None:
    """Name what an error says is out of reach; None if it says something else."""
    if isinstance(error, BaseExceptionGroup):
        names = {out_of_reach(each) for each in error.exceptions}
        return names.pop() if len(names) == 1 else None
    if isinstance(error, NatsError):
        return BROKER
    if isinstance(error, grpc.aio.AioRpcError):
        return SERVICES if error.code() in _AWAY_STATUSES else None
    if isinstance(error, aiohttp.ClientError):
        return NETWORK
    return DATABASE if _is_database_away(error) else None


def _is_database_away(error: BaseException) -> bool:
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    if isinstance(cause, asyncpg.PostgresError):
        return (cause.sqlstate or "").startswith(_AWAY_STATES)
    # The driver raises what it meets when it connects; an error of a file names it.
    refused = isinstance(cause, OSError) and not cause.filename
    return refused or is_lost_connection(cause)


def is_lost_connection(cause: BaseException) -> bool:
    """Whether a connection to the database was lost, cut off in mid-statement, or not to be had."""
    if isinstance(cause, asyncpg.InterfaceError):
        # Unless a value does not fit its column.
        return not isinstance(cause, ValueError)
    return isinstance(cause, PoolTimeoutError | asyncpg.InternalClientError)


class Reporter:
    """What one worker, consumer or connection has to say of outages."""

    def __init__(self) -> None:
        self._met: str | None = None

    def failed(self, what: str, error: BaseException) -> None:
        """Meet an outage of what is named, or meet it again."""
        if self._met not in (None, what):
            self.works()
        self._met = what
        _outage(what).meet(self, error)

    def works(self) -> None:
        """Meet no outage any more."""
        if self._met is not None:
            _outage(self._met).leave(self)
            self._met = None


class _Outage:
    """An outage of one thing, for as long as somebody meets it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._met_by: set[Reporter] = set()
        self._said = ""
        self._said_at = 0.0

    def meet(self, reporter: Reporter, error: BaseException) -> None:
        self._met_by.add(reporter)
        self.say(error)

    def say(self, error: BaseException) -> None:
        why, now = error_format.one_line(error), time.monotonic()
        is_old = now - self._said_at >= REPEAT_SECONDS
        if not self._said or (is_old and (why != self._said or not self._met_by)):
            log.warning("waiting for %s: %s", self._what, why)
            self._said, self._said_at = why, now

    def leave(self, reporter: Reporter) -> None:
        self._met_by.discard(reporter)
        if not self._met_by and self._said:
            log.info("%s: back", self._what)
            self._said = ""


_outages: dict[str, _Outage] = {}


def _outage(what: str) -> _Outage:
    return _outages.setdefault(what, _Outage(what))


def note(what: str, error: BaseException) -> None:
    """Log an outage that a call has met, unless it is known; nobody waits for its end."""
    _outage(what).say(error)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record tells more than what a library says of an outage, once a connection."""
    error = record.exc_info[1] if record.exc_info else None
    return error is None or record.name.startswith("services.") or out_of_reach(error) is None


# Classes of SQLSTATE: connection, rolled back for another's sake, resources, lock, intervention
# (shut down, timed out).
_OUTAGE_CLASSES = ("08", "40", "53", "55", "57")


def is_outage(error: BaseException) -> bool:
    """Whether the database is out of reach or hindered, so that the same will work later.

    Anything else (a broken constraint, a value out of range) comes from what was asked of it.
    """
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    if isinstance(cause, asyncpg.PostgresError):
        return (cause.sqlstate or "").startswith(_OUTAGE_CLASSES)
    return isinstance(cause, OSError) or is_lost_connection(cause)
