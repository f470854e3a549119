"""Re-encrypts rows with the newest key, page by page, while the service runs."""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from services.runtime.crypto.encryption import Keyring, UnreadableError
from services.runtime.db.pool import Connection, Database, to_json
from services.runtime.db.statements import Command, Query
from services.runtime.observability.outages import is_outage
from services.runtime.workers.retry import retry_until_success

PAGE_ROWS = 500
# No table has a column of this name.
_ROW_VERSION = "row_version"
# A page whose rows are changed meanwhile is read again, at most so often.
PAGE_READS_MAX = 5

Renew = Callable[[bytes], bytes]
Values = Mapping[str, Any]


def _itself(value: Any, renew: Renew) -> Any:  # noqa: ANN401 - a column's value
    return None if value is None else renew(value)


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """A column with encrypted values."""

    name: str
    # Row -> the additional data of its value.
    aad: Callable[[Any], tuple[str, ...]]
    # Its type, and how to renew its value, which mostly is itself encrypted.
    kind: str = "bytea"
    renewed: Callable[[Any, Renew], Any] = _itself


@dataclass(frozen=True, slots=True)
class HashedColumn:
    """A column with keyed hashes of what another column encrypts, by which rows are found."""

    name: str
    of: EncryptedColumn
    # Row -> the additional data of the hash.
    aad: Callable[[Any], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class EncryptedTable:
    """A table with encrypted columns."""

    name: str
    # Its primary key in its order, with types.
    key: Mapping[str, str]
    columns: Sequence[EncryptedColumn]
    # Columns that the additional data need beyond the key.
    beside: Sequence[str] = ()
    hashes: Sequence[HashedColumn] = ()

    @property
    def kinds(self) -> Mapping[str, str]:
        """Which columns are renewed, with their types."""
        kinds = {column.name: column.kind for column in self.columns}
        return {**kinds, **{column.name: "bytea" for column in self.hashes}}

    def key_of(self, row: Any) -> Values:  # noqa: ANN401 - a row
        """The key of a row."""
        return {name: getattr(row, name) for name in self.key}


class Tally(NamedTuple):
    """The number of rows, and what became of them."""

    rows: int = 0
    reencrypted: int = 0
    # Still encrypted with an older key.
    left: int = 0
    # Without a key that decrypts them.
    unreadable: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """The sum of both."""
        return Tally(*map(sum, zip(self, other, strict=True)))


async def reencrypt(
    database: Database, table: EncryptedTable, *, only_count: bool = False
) -> Tally:
    """Re-encrypt the rows of a table that the newest key has not encrypted, in the order of its key.

    It can be interrupted and repeated at any time.
    """
    tally, after = Tally(), None
    while True:
        work = partial(_reencrypt_page, database, table, after, only_count=only_count)
        last, found = await retry_until_success("database", work, is_transient=is_outage)
        if last is None:
            return tally
        tally, after = tally.plus(found), last


async def _reencrypt_page(
    database: Database, table: EncryptedTable, after: Values | None, *, only_count: bool
) -> tuple[Values | None, Tally]:
    """Re-encrypt a page of rows; returns the last key, or None after the last page."""
    reencrypted = reads = 0
    while True:
        async with database.begin(wake_workers=False) as tx:
            rows = await _page(table, after).all(tx, **(after or {}), limit=PAGE_ROWS)
            stale, unreadable = _renewed(database.keyring, table, rows)
            done = 0 if only_count else await _store(tx, table, stale)
        reencrypted += done
        reads += 1
        if only_count or done == len(stale) or reads == PAGE_READS_MAX:
            break
    if not rows:
        return None, Tally()
    return table.key_of(rows[-1]), Tally(len(rows), reencrypted, len(stale) - done, unreadable)


def _renewed(
    keyring: Keyring, table: EncryptedTable, rows: Sequence[Any]
) -> tuple[list[Values], int]:
    """The rows that older keys have encrypted, re-encrypted, and the number that no key decrypts."""
    stale: list[Values] = []
    unreadable = 0
    for row in rows:
        present = {name: getattr(row, name) for name in table.kinds}
        try:
            renewed = {
                column.name: column.renewed(
                    present[column.name], _renewing(keyring, column.aad(row))
                )
                for column in table.columns
            }
            for column in table.hashes:
                encrypted = renewed[column.of.name]
                renewed[column.name] = _hashed(keyring, encrypted, column, row)
        except UnreadableError:
            unreadable += 1
            continue
        if renewed != present:
            stale.append({**table.key_of(row), _ROW_VERSION: row.row_version, **renewed})
    return stale, unreadable


def _renewing(keyring: Keyring, aad: tuple[str, ...]) -> Renew:
    return lambda encrypted: keyring.renew(encrypted, *aad)


def _hashed(
    keyring: Keyring,
    encrypted: bytes,
    column: HashedColumn,
    row: Any,  # noqa: ANN401 - a row
) -> bytes:
    plain = keyring.decrypt(encrypted, *column.of.aad(row)).decode()
    return keyring.keyed_hash(plain, *column.aad(row)) if plain else b""


async def _store(tx: Connection, table: EncryptedTable, renewed: Sequence[Values]) -> int:
    """Store the rows that have not changed since they were read; returns how many."""
    if not renewed:
        return 0
    arrays: dict[str, list[Any]] = {
        name: [row[name] for row in renewed] for name in (_ROW_VERSION, *table.key)
    }
    for name, kind in table.kinds.items():
        values = [row[name] for row in renewed]
        arrays[name] = [*map(to_json, values)] if kind == "jsonb" else values
    return await _update(table).run(tx, **arrays)


# The two statements below are assembled, since each service has its own encrypted tables. They contain
# names from its code and no values.


def _page(table: EncryptedTable, after: Values | None) -> Query[Any]:
    key = ", ".join(table.key)
    columns = (*table.key, *table.beside, *table.kinds)
    last_key = ", ".join(f":{name}" for name in table.key)
    after_last = f"WHERE ({key}) > ({last_key})" if after else ""
    return Query(
        f"""
        SELECT CAST(xmin AS text) AS {_ROW_VERSION}, {", ".join(columns)} FROM {table.name} {after_last}
        ORDER BY {key} LIMIT :limit
        """,  # noqa: S608 - names of tables and columns
        namedtuple("Row", (_ROW_VERSION, *columns)),  # noqa: PYI024 - of the table's columns
    )


def _update(table: EncryptedTable) -> Command:
    # JSON travels as text, and so does the row's version.
    kinds = {
        **table.key,
        **table.kinds,
        _ROW_VERSION: "text",
    }
    arrays = ", ".join(
        f"CAST(:{name} AS {'text' if kind == 'jsonb' else kind}[])" for name, kind in kinds.items()
    )
    changes = ", ".join(
        f"{name} = CAST(renewed.{name} AS {kind})" for name, kind in table.kinds.items()
    )
    same = " AND ".join(f"{table.name}.{name} = renewed.{name}" for name in table.key)
    return Command(f"""
        UPDATE {table.name} SET {changes}
        FROM unnest({arrays}) AS renewed ({", ".join(kinds)})
        WHERE {same} AND {table.name}.xmin = CAST(renewed.{_ROW_VERSION} AS xid)
    """)  # noqa: S608 - names of tables and columns
