"""Statements: static SQL with a name, beside the type of its rows.

Parameters are named (`:order`) and given as keywords. A statement over a set is given its items: a
parameter that is not given by itself is the array of their attributes of its name.

A row type is a NamedTuple or a dataclass, often of the domain, whose first fields are the statement's
columns, in their order; those that a statement does not give have defaults. A field that is an
enumeration, or a tuple of one, is made of the text that PostgreSQL gives, and another tuple of its
array. Of a statement with one column, the row type is `scalar`.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from functools import partial
from operator import itemgetter
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from asyncpg import Record

from services.runtime.db.pool import Connection

R = TypeVar("R")

# A parameter, or what may contain a colon and is none: texts, quoted names, bodies, comments; a cast
# (`::`) and a slice (`[1:n]`) have something before theirs.
_PARAMETER = re.compile(
    r"""'(?:[^']|'')*' | "[^"]*" | (?P<quote>\$\w*\$).*?(?P=quote) | --[^\n]* | /\*.*?\*/
        | (?<![:\w]):(?P<name>[a-z_]\w*)""",
    re.DOTALL | re.VERBOSE,
)


def scalar(value: Any) -> Any:  # noqa: ANN401 - the annotation of the statement says what it is
    """The value of a row with one column."""
    return value


def compiled(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement as PostgreSQL takes it, with $1 and so on, and the names of these parameters."""
    numbers: dict[str, int] = {}

    def replacement(match: re.Match[str]) -> str:
        name = match["name"]
        return match[0] if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

    return _PARAMETER.sub(replacement, sql), tuple(numbers)


class _Statement:
    def __init__(self, sql: str) -> None:
        self.sql, self.names = compiled(sql)

    def _values(self, parameters: dict[str, Any]) -> list[Any]:
        return [parameters[name] for name in self.names]

    def _arrays(self, items: Collection[object], given: dict[str, Any]) -> dict[str, Any]:
        return given | {
            name: [getattr(item, name) for item in items]
            for name in self.names
            if name not in given
        }


class Query(_Statement, Generic[R]):
    """A statement that gives rows."""

    def __init__(self, sql: str, row: Callable[..., R]) -> None:
        super().__init__(sql)
        self.row = row
        self._make: Callable[[Record], R] | None = None

    async def all(self, tx: Connection, **parameters: object) -> list[R]:
        """All rows, in the statement's order."""
        records = await tx.fetch(self.sql, *self._values(parameters))
        if not records:
            return []
        make = self._make = self._make or _maker(self.row, len(records[0]))
        return [make(record) for record in records]

    async def all_for(
        self, tx: Connection, items: Collection[object], **parameters: object
    ) -> list[R]:
        """All rows of a statement over a set; an empty one costs no statement."""
        return [] if not items else await self.all(tx, **self._arrays(items, parameters))

    async def one_or_none(self, tx: Connection, **parameters: object) -> R | None:
        """The one row, or None. Raises if there are several: the statement's key is wrong."""
        rows = await self.all(tx, **parameters)
        return _only(rows) if rows else None

    async def one(self, tx: Connection, **parameters: object) -> R:
        """The one row. Raises if there is none, or several."""
        return _only(await self.all(tx, **parameters))


class Command(_Statement):
    """A statement that changes rows and gives none."""

    async def run(self, tx: Connection, **parameters: object) -> int:
        """How many rows it changed."""
        return await tx.execute(self.sql, *self._values(parameters))

    async def run_for(self, tx: Connection, items: Collection[object], **parameters: object) -> int:
        """How many rows a statement over a set changed; an empty one costs no statement."""
        return 0 if not items else await self.run(tx, **self._arrays(items, parameters))


def _only(rows: Sequence[R]) -> R:
    if len(rows) != 1:
        raise RuntimeError(f"{len(rows)} rows where one was expected")
    return rows[0]


def _maker(row: Callable[..., R], column_count: int) -> Callable[[Record], R]:
    """How a row is made of its columns, whose texts become enumerations where the row has them."""
    if row is scalar:
        return itemgetter(0)
    names = fields(row)
    hints = get_type_hints(row)
    readers = [
        (index, read)
        for index, name in enumerate(names[:column_count])
        if (read := _reader(hints.get(name))) is not None
    ]
    is_whole_tuple = isinstance(row, type) and issubclass(row, tuple) and len(names) == column_count
    # A named tuple's own constructor takes five times as long as a tuple's.
    new_tuple: Any = tuple.__new__
    build = partial(new_tuple, row) if is_whole_tuple else lambda values: row(*values)

    def read_and_build(record: Record) -> R:
        values = list(record)
        for index, read in readers:
            values[index] = read(values[index])
        return build(values)

    return read_and_build if readers else build


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    # Of an outer join that found nothing.
    return None if values is None else tuple(values)


def fields(row: Callable[..., Any]) -> Sequence[str]:
    """The names of a row type's fields."""
    if dataclasses.is_dataclass(row):
        return [field.name for field in dataclasses.fields(row)]
    names: Sequence[str] = getattr(row, "_fields", ())
    return names


def _reader(hint: Any) -> Callable[[Any], Any] | None:  # noqa: ANN401 - any type
    kinds = get_args(hint) or (hint,)
    enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum)]
    if not enums:
        return _tuple if get_origin(hint) is tuple else None
    [enum] = enums
    # A table costs a tenth of the enumeration's own constructor.
    members = {member.value: member for member in enum} | {None: None}
    member_of = members.__getitem__
    return (
        (lambda values: tuple(map(member_of, values))) if get_origin(hint) is tuple else member_of
    )
