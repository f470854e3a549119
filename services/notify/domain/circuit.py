"""When a gateway that does not take messages is left alone for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta

# So many messages one after the other that a gateway did not take.
FAILURES_MAX = 20
OPEN_TIME = timedelta(seconds=30)
# After so many in a row the log says so: one failure alone is usual.
FAILURES_REPORTED = 3


@dataclass(slots=True)
class Circuit:
    """Closed while a gateway takes messages; open for a while after many that it did not take.

    Of those that are tried after that, the first that fails opens it again.
    """

    _failure_count: int = 0
    _open_until: datetime | None = None

    def open_until(self, now: datetime) -> datetime | None:
        """Until when nothing is sent; None: it is."""
        is_open = self._open_until is not None and now < self._open_until
        return self._open_until if is_open else None

    def failed(self, now: datetime) -> bool:
        """A message was not taken; returns whether that opens the circuit."""
        self._failure_count += 1
        if self._failure_count < FAILURES_MAX or self.open_until(now) is not None:
            return False
        self._open_until = now + OPEN_TIME
        return True

    @property
    def failure_count(self) -> int:
        """How many messages in a row it did not take."""
        return self._failure_count

    def works(self) -> None:
        """The gateway took a message, or said what is wrong with it."""
        self._failure_count = 0
        self._open_until = None
