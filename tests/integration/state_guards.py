"""What PostgreSQL itself holds of a table's states: which there are, and which a row never leaves."""

import re
from enum import StrEnum
from typing import Any

from services.runtime.db.pool import Database
from services.runtime.transitions import Transitions

CHECK = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1"
TRIGGER = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = $1"


async def guarded(database: Database, table: str) -> tuple[set[str], set[str]]:
    """The states that a table's constraint allows, and those that its trigger makes final."""
    async with database.read() as connection:
        check = await connection.driver.fetchval(CHECK, f"{table}_state_check")
        trigger = await connection.driver.fetchval(TRIGGER, f"{table}_final")
        return _quoted(check), _quoted(trigger)


def of_table(
    states: type[StrEnum], transitions: Transitions[Any, Any]
) -> tuple[set[str], set[str]]:
    """The same by the table of transitions."""
    return set(states), {state for state in states if transitions.is_terminal(state)}


def _quoted(definition: str) -> set[str]:
    return set(re.findall(r"'(\w+)'", definition))
