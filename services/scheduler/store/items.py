"""Items and one-cycle changes as the JSON in their columns, and back."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from services.runtime.db.pool import to_json
from services.scheduler.domain.order import Item
from services.scheduler.domain.standing_order import CycleChange, KeptDate


def dump_items(items: Sequence[Item]) -> str:
    """Items as the JSON text in their column."""
    return to_json(
        [
            [item.product, item.quantity, *([item.substitutes] if item.substitutes else ())]
            for item in items
        ]
    )


def load_items(data: Iterable[Sequence[Any]]) -> tuple[Item, ...]:
    """Items from their column."""
    return tuple(
        Item(product, quantity, tuple(*substitutes)) for product, quantity, *substitutes in data
    )


def dump_changes(changes: Mapping[int, CycleChange]) -> str:
    """One-cycle changes as the JSON text in their column."""
    return json.dumps({cycle: asdict(change) for cycle, change in changes.items()}, default=_plain)


def _plain(value: Any) -> str:  # noqa: ANN401 - bytes, a date or a time
    return b64encode(value).decode() if isinstance(value, bytes) else str(value.isoformat())


def with_ship_tos(changes: Mapping[str, Any], made: Callable[[bytes], bytes]) -> dict[str, Any]:
    """The column of one-cycle changes, with something else made of each encrypted address."""
    return {
        cycle: {**data, "ship_to": b64encode(made(b64decode(data["ship_to"]))).decode()}
        for cycle, data in changes.items()
    }


def load_change(data: dict[str, Any]) -> CycleChange:
    """A one-cycle change from its part of the column."""
    now_time = data["order_now_time"]
    kept = data["kept_date"]
    return CycleChange(
        skip=data["skip"],
        local_date=date.fromisoformat(data["local_date"]) if data["local_date"] else None,
        items=load_items(data["items"]) if data["items"] else None,
        ship_to=b64decode(data["ship_to"]),
        region_code=data["region_code"],
        order_now_time=datetime.fromisoformat(now_time) if now_time else None,
        kept_date=KeptDate(*map(date.fromisoformat, kept)) if kept else None,
    )
