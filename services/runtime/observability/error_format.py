"""Errors as text for logs, traces and dead letters: without the values of a row.

PostgreSQL quotes the row that it refuses ("Failing row contains (…)"), which may be a person's address.
"""

import traceback
from collections.abc import Iterator

import asyncpg

# Data exceptions: their message quotes the value.
_DATA_CLASS = "22"


def one_line(error: BaseException) -> str:
    """An error and its causes on one line, the first cause first."""
    causes = [error]
    while causes[0].__cause__:
        causes.insert(0, causes[0].__cause__)
    return " > ".join(map(_described, causes))


def whole(error: BaseException) -> str:
    """An error and all that led to it, each with its stack, the first one first."""
    return "\n".join(
        f"{_described(cause)}\n{''.join(traceback.format_tb(cause.__traceback__))}"
        for cause in _led_to(error)
    )


def _led_to(error: BaseException) -> Iterator[BaseException]:
    """All errors that led to an error, and the error itself."""
    above = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if above is not None:
        yield from _led_to(above)
    if isinstance(error, BaseExceptionGroup):
        for exception in error.exceptions:
            yield from _led_to(exception)
    yield error


def _described(error: BaseException) -> str:
    message = _message(error)
    name = type(error).__qualname__
    return f"{name}: {message}" if message else name


def _message(error: BaseException) -> str:
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        # str(error) would add the detail, which quotes the row.
        message = () if state.startswith(_DATA_CLASS) else error.args[:1]
        return " ".join((state, *message)).strip()
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        # A value that does not fit its column.
        return ""
    return str(error)
