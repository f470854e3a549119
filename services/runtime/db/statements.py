"""Statements: static SQL with a name, beside the type of its rows.

Parameters are named (`:order`) and given as keywords. A statement over a set is given its items: a
parameter that is not given by itself is the array of their attributes of its name.

A row type is a NamedTuple or a dataclass, often of the domain, whose first fields are the statement's
columns, in their order; those that a statement does not give have defaults. A field that is an
enumeration, or a tuple of one, is made of the text that PostgreSQL gives. Of a statement with one
column, the row type is `scalar`.
"""

import dataclasses
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import cached_property
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from sqlalchemy import CursorResult, text

from services.runtime.db.pool import Connection

R = TypeVar("R")


def scalar(value: Any) -> Any:  # noqa: ANN401 - the annotation of the statement says what it is
    """The value of a row with one column."""
    return value


class _Statement:
    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._text = text(sql)

    async def _execute(self, tx: Connection, parameters: dict[str, Any]) -> CursorResult[Any]:
        return await tx.execute(self._text, parameters)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self._text.compile().params)

    def _arrays(self, items: Collection[object], given: dict[str, Any]) -> dict[str, Any]:
        return given | {
            name: [getattr(item, name) for item in items]
            for name in self._names
            if name not in given
        }


class Query(_Statement, Generic[R]):
    """A statement that gives rows."""

    def __init__(self, sql: str, row: Callable[..., R]) -> None:
        super().__init__(sql)
        self.row = row

    async def all(self, tx: Connection, **parameters: object) -> list[R]:
        """All rows, in the statement's order."""
        return [self._row(columns) for columns in await self._execute(tx, parameters)]

    async def all_for(
        self, tx: Connection, items: Collection[object], **parameters: object
    ) -> list[R]:
        """All rows of a statement over a set; an empty one costs no statement."""
        return [] if not items else await self.all(tx, **self._arrays(items, parameters))

    async def one_or_none(self, tx: Connection, **parameters: object) -> R | None:
        """The one row, or None. Raises if there are several: the statement's key is wrong."""
        columns = (await self._execute(tx, parameters)).one_or_none()
        return None if columns is None else self._row(columns)

    async def one(self, tx: Connection, **parameters: object) -> R:
        """The one row. Raises if there is none, or several."""
        return self._row((await self._execute(tx, parameters)).one())

    def _row(self, columns: Any) -> R:  # noqa: ANN401 - a row of any columns
        if not self._readers:
            return self.row(*columns)
        values = list(columns)
        for index, read in self._readers:
            if index < len(values):
                values[index] = read(values[index])
        return self.row(*values)

    @cached_property
    def _readers(self) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
        """How the columns of enumerations become fields, by their index."""
        hints = get_type_hints(self.row)
        readers = ((index, _reader(hints[name])) for index, name in enumerate(fields(self.row)))
        return tuple((index, read) for index, read in readers if read is not None)


class Command(_Statement):
    """A statement that changes rows and gives none."""

    async def run(self, tx: Connection, **parameters: object) -> int:
        """How many rows it changed."""
        return (await self._execute(tx, parameters)).rowcount

    async def run_for(self, tx: Connection, items: Collection[object], **parameters: object) -> int:
        """How many rows a statement over a set changed; an empty one costs no statement."""
        return 0 if not items else await self.run(tx, **self._arrays(items, parameters))


def fields(row: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a row type's fields."""
    if dataclasses.is_dataclass(row):
        return tuple(field.name for field in dataclasses.fields(row))
    names: tuple[str, ...] = getattr(row, "_fields", ())
    return names


def _reader(hint: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 - any type
    kinds = get_args(hint) or (hint,)
    enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum)]
    if not enums:
        return None
    [enum] = enums
    if get_origin(hint) is tuple:
        return lambda values: tuple(map(enum, values))
    if NoneType in kinds:
        return lambda value: None if value is None else enum(value)
    return enum
