"""Re-encrypts under the newest key what older keys encrypted: page by page, while the service runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.runtime.crypto.encryption import Keyring, UnreadableError
from services.runtime.db.pool import Database, to_json
from services.runtime.observability.outages import is_outage
from services.runtime.workers.retry import retry_until_success

PAGE_ROWS = 500
# A page whose rows others change meanwhile is looked at again, at most so often.
LOOKS_MAX = 5

Renew = Callable[[bytes], bytes]
Values = Mapping[str, Any]


def _itself(value: Any, renew: Renew) -> Any:  # noqa: ANN401 - a column's value
    return None if value is None else renew(value)


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """A column with encrypted values."""

    name: str
    # Row -> what its value is bound to.
    aad: Callable[[Any], tuple[str, ...]]
    # Its type, and its value with what is encrypted in it renewed; mostly that is the value itself.
    kind: str = "bytea"
    renewed: Callable[[Any, Renew], Any] = _itself


@dataclass(frozen=True, slots=True)
class EncryptedTable:
    """A table with encrypted columns."""

    name: str
    # Its primary key in its order, with types.
    key: Mapping[str, str]
    columns: Sequence[EncryptedColumn]
    # What an aad needs of a row beyond the key.
    beside: Sequence[str] = ()

    def key_of(self, row: Any) -> Values:  # noqa: ANN401 - a row
        """The key of a row."""
        return {name: getattr(row, name) for name in self.key}


class Tally(NamedTuple):
    """Rows that were looked at, and what became of them."""

    rows: int = 0
    reencrypted: int = 0
    # With something that an older key has encrypted, still.
    left: int = 0
    # With something that no key opens.
    unreadable: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*map(sum, zip(self, other, strict=True)))


async def reencrypt(
    database: Database, table: EncryptedTable, *, only_count: bool = False
) -> Tally:
    """Go through a table by its key, and re-encrypt what the newest key has not encrypted.

    Broken off, it can be begun again at any time: what is done is passed over.
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
    """Re-encrypt a page of rows; returns the last one's key, or None if there is no further page."""
    reencrypted = looks = 0
    while True:
        async with database.engine.begin() as tx:
            rows = list(
                await tx.execute(_page(table, after), {**(after or {}), "limit": PAGE_ROWS})
            )
            stale, unreadable = _renewed(database.keyring, table, rows)
            done = 0 if only_count else await _store(tx, table, stale)
        reencrypted += done
        looks += 1
        if only_count or done == len(stale) or looks == LOOKS_MAX:
            break
    if not rows:
        return None, Tally()
    return table.key_of(rows[-1]), Tally(len(rows), reencrypted, len(stale) - done, unreadable)


def _renewed(
    keyring: Keyring, table: EncryptedTable, rows: Sequence[Any]
) -> tuple[list[Values], int]:
    """Those rows that change when they are re-encrypted, as they become; and how many do not open."""
    stale: list[Values] = []
    unreadable = 0
    for row in rows:
        present = {column.name: getattr(row, column.name) for column in table.columns}
        try:
            renewed = {
                column.name: column.renewed(
                    present[column.name], _renewing(keyring, column.aad(row))
                )
                for column in table.columns
            }
        except UnreadableError:
            unreadable += 1
            continue
        if renewed != present:
            stale.append({**table.key_of(row), "seen": row.seen, **renewed})
    return stale, unreadable


def _renewing(keyring: Keyring, aad: tuple[str, ...]) -> Renew:
    return lambda encrypted: keyring.renew(encrypted, *aad)


async def _store(tx: AsyncConnection, table: EncryptedTable, renewed: Sequence[Values]) -> int:
    """Store rows, but for those that have changed since they were read; returns how many it stored."""
    if not renewed:
        return 0
    arrays: dict[str, list[Any]] = {
        name: [row[name] for row in renewed] for name in ("seen", *table.key)
    }
    for column in table.columns:
        values = [row[column.name] for row in renewed]
        arrays[column.name] = [*map(to_json, values)] if column.kind == "jsonb" else values
    return (await tx.execute(_update(table), arrays)).rowcount


def _page(table: EncryptedTable, after: Values | None) -> TextClause:
    key = ", ".join(table.key)
    read = ", ".join((*table.key, *table.beside, *(column.name for column in table.columns)))
    place = ", ".join(f":{name}" for name in table.key)
    beyond = f"WHERE ({key}) > ({place})" if after else ""
    return text(f"""
        SELECT CAST(xmin AS text) AS seen, {read} FROM {table.name} {beyond}
        ORDER BY {key} LIMIT :limit
    """)  # noqa: S608 - names of tables and columns


def _update(table: EncryptedTable) -> TextClause:
    # JSON travels as text, and so does the row's version.
    kinds = {**table.key, **{column.name: column.kind for column in table.columns}, "seen": "text"}
    arrays = ", ".join(
        f"CAST(:{name} AS {'text' if kind == 'jsonb' else kind}[])" for name, kind in kinds.items()
    )
    changes = ", ".join(
        f"{column.name} = CAST(given.{column.name} AS {column.kind})" for column in table.columns
    )
    same = " AND ".join(f"{table.name}.{name} = given.{name}" for name in table.key)
    return text(f"""
        UPDATE {table.name} SET {changes}
        FROM unnest({arrays}) AS given ({", ".join(kinds)})
        WHERE {same} AND {table.name}.xmin = CAST(given.seen AS xid)
    """)  # noqa: S608 - names of tables and columns
