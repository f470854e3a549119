"""When the promotion of a standing order ends, and what it costs from then on. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

# So long before the end its customer is notified, or earlier if rule packs ask for that.
PROMOTION_NOTICE_DAYS = 14


@dataclass(frozen=True, slots=True)
class EndingPromotion:
    """A promotion that takes something off the first cycles alone."""

    # Its resource name, and what customers read of it.
    promotion: str
    title: str
    # The last cycle that it takes something off (0: none by its number), and the instant before which
    # cycles are due that it does.
    last_cycle: int
    until_time: datetime | None
    # What rule packs ask for.
    notice_days: int

    @property
    def notice_lead(self) -> timedelta:
        """How long before its end the customer is notified."""
        return timedelta(days=max(self.notice_days, PROMOTION_NOTICE_DAYS))

    def is_over(self, cycle: int, due_time: datetime) -> bool:
        """Whether it takes nothing off a cycle that is due at an instant."""
        by_cycle = bool(self.last_cycle) and cycle > self.last_cycle
        return by_cycle or (self.until_time is not None and self.until_time <= due_time)
