"""How fast messages go to a gateway."""

import asyncio
from dataclasses import dataclass

CONCURRENT_MAX = 50


@dataclass(frozen=True, slots=True)
class PaceLimit:
    """What a gateway takes of one process."""

    # 0: as many as it can.
    messages_per_second: float = 0.0
    messages_at_once: int = CONCURRENT_MAX


class Pace:
    """Gives messages their turns: a token bucket that holds the messages of a second."""

    def __init__(self, limit: PaceLimit) -> None:
        self._interval_seconds = 1 / limit.messages_per_second if limit.messages_per_second else 0.0
        self._burst_seconds = max(0.0, 1.0 - self._interval_seconds)
        self._next_time = 0.0
        self.at_once = limit.messages_at_once

    async def turn(self, last_start: float) -> bool:
        """Return when the next message may be sent; False at once if that is later than a time."""
        if not self._interval_seconds:
            return True
        now = asyncio.get_running_loop().time()
        # What was not used for long is not made up for later.
        start = max(self._next_time, now - self._burst_seconds)
        if start >= last_start:
            return False
        self._next_time = start + self._interval_seconds
        await asyncio.sleep(max(0.0, start - now))
        return True
