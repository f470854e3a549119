"""Leases: whoever claims due rows has them for so long; a step that works on them ends earlier.

So nothing that an owner still does meets what the next owner does: its step is cut off before its lease
runs out. Claims run on the database's own clock: they concern machines, not customers.
"""

from dataclasses import dataclass

# What is left of a lease when a step is cut off, for its last statement to end.
MARGIN_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a claim stands."""

    seconds: int

    @property
    def step_deadline_seconds(self) -> int:
        """When a step under this lease is cut off."""
        return self.seconds - MARGIN_SECONDS


# Of steps that ask other services, each call at most 10 s.
SUITE = Lease(15)
# Of the relay, which waits 10 s for the broker to take events and 5 s to hear of its streams.
BROKER = Lease(20)
# Of steps that ask a provider or a gateway.
OUTSIDE = Lease(30)
