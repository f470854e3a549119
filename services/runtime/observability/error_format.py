"""An error as logs, traces and dead letters may tell it: without the values of a row.

A database quotes what it refuses ("Failing row contains (…)"), and that may be somebody's address.
"""

import traceback
from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import StatementError

# SQLAlchemy's errors around the driver's own only repeat it, with the statement.
_ADAPTER_MODULE = "sqlalchemy.dialects.postgresql.asyncpg"
# Data exceptions: their message is the value that was no good.
_DATA_CLASS = "22"


def one_line(error: BaseException) -> str:
    """What went wrong, from the first cause on."""
    causes = [error]
    while causes[0].__cause__:
        causes.insert(0, causes[0].__cause__)
    return " > ".join(map(_said, causes))


def whole(error: BaseException) -> str:
    """What went wrong and where: each error on the way with its stack, the first one first."""
    return "\n".join(
        f"{_said(each)}\n{''.join(traceback.format_tb(each.__traceback__))}"
        for each in _led_to(error)
    )


def _led_to(error: BaseException) -> Iterator[BaseException]:
    """All that was raised on the way to an error, and the error itself."""
    above = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if above is not None:
        yield from _led_to(above)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _led_to(each)
    yield error


def _said(error: BaseException) -> str:
    message = _message(error)
    name = type(error).__qualname__
    return f"{name}: {message}" if message else name


def _message(error: BaseException) -> str:
    if isinstance(error, StatementError) or type(error).__module__ == _ADAPTER_MODULE:
        return ""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        # As a text it would go on with the detail, in which the row is.
        message = () if state.startswith(_DATA_CLASS) else error.args[:1]
        return " ".join((state, *message)).strip()
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        # A value that does not fit its column.
        return ""
    return str(error)
