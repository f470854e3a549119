"""A history: a book of standing orders and what happens to it, as data that can be replayed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cli.errors import CommandError

# What a step does: an action of a customer or merchant, time that passes, or a fault.
Step = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """All that a run needs to be played again."""

    seed: int
    # Month, day and hour in UTC that the clock is moved to before; empty: it stays where it is.
    start: Mapping[str, int]
    products: Sequence[Mapping[str, Any]]
    customers: Sequence[Mapping[str, Any]]
    standing_orders: Sequence[Mapping[str, Any]]
    steps: Sequence[Step]
    # Which events the merchant's platform wants: all, some or, if it is empty, none.
    platform: str = ""
    # How many messages a customer gets by each channel in a day; 0: any number.
    daily_message_max: int = 0

    def with_steps(self, steps: Sequence[Step]) -> "History":
        """The same book with other things happening to it."""
        return replace(self, steps=tuple(steps))

    def to_json(self) -> str:
        """As text, one step a line."""
        book = {name: value for name, value in asdict(self).items() if name != "steps"}
        lines = [f'  "{name}": {json.dumps(value)},' for name, value in book.items()]
        steps = ",\n".join(f"    {json.dumps(dict(step))}" for step in self.steps)
        return "\n".join(["{", *lines, f'  "steps": [\n{steps}\n  ]', "}"])


def read_history(file: Path) -> History:
    """Read a history that a run has printed. Raises CommandError if it is none."""
    try:
        given = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"{file} is no history: {error}") from error
    if not isinstance(given, dict):
        raise CommandError(f"{file} is no history: give one object of JSON")
    known = {field.name: field.default is MISSING for field in fields(History)}
    wrong = [f"{name}: is not known" for name in sorted(given.keys() - known)]
    wrong += [f"{name}: is missing" for name in known if known[name] and name not in given]
    if wrong:
        raise CommandError("\n".join(f"{file} is no history: {line}" for line in wrong))
    return History(**given)
