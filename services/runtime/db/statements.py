"""Statements: static SQL with a name, beside the type of its rows.

Parameters are named (`:order`) and given as keywords. A row type is a NamedTuple or a dataclass whose
fields are the statement's columns, in their order; of a statement with one column, it is `scalar`.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import text

from services.runtime.db.pool import Connection

R = TypeVar("R")


def scalar(value: Any) -> Any:  # noqa: ANN401 - the annotation of the statement says what it is
    """The value of a row with one column."""
    return value


class Query(Generic[R]):
    """A statement that gives rows."""

    def __init__(self, sql: str, row: Callable[..., R]) -> None:
        self.sql = sql
        self.row = row
        self._text = text(sql)

    async def all(self, tx: Connection, **parameters: object) -> list[R]:
        """All rows, in the statement's order."""
        return [self.row(*row) for row in await tx.execute(self._text, parameters)]

    async def one_or_none(self, tx: Connection, **parameters: object) -> R | None:
        """The one row, or None. Raises if there are several: the statement's key is wrong."""
        row = (await tx.execute(self._text, parameters)).one_or_none()
        return None if row is None else self.row(*row)

    async def one(self, tx: Connection, **parameters: object) -> R:
        """The one row. Raises if there is none, or several."""
        return self.row(*(await tx.execute(self._text, parameters)).one())


class Command:
    """A statement that changes rows and gives none."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._text = text(sql)

    async def run(self, tx: Connection, **parameters: object) -> int:
        """How many rows it changed."""
        return (await tx.execute(self._text, parameters)).rowcount
