"""Where histories are played, and which faults can be made there."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cli.connect import Session


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that fails, and how it is made whole again; both may be done twice."""

    # Returns whether there was something to break.
    make: Callable[[Mapping[str, Any]], Awaitable[bool]]
    heal: Callable[[], Awaitable[object]]
    # It stays over some steps; else it begins and ends while one goes on.
    lasting: bool = False
    # A service that loses what was acknowledged meanwhile; platforms send it again.
    forgets: str = ""
    # What operators do once platforms have.
    settle: Callable[[], Awaitable[None]] | None = None
    # It does nothing until something comes to it, which the target counts.
    waits: bool = False


class Target(Protocol):
    """A deployment."""

    @property
    def faults(self) -> Mapping[str, Fault]:
        """What can be made to fail, by name."""

    @property
    def simulated(self) -> bool:
        """Whether its clock is simulated, so that it can be advanced."""

    def session(self, tag: str) -> Session:
        """A session for a history, as a merchant of its own where that can be had."""

    @property
    def customers(self) -> Sequence[Mapping[str, str]]:
        """In real time: customers who are ready to order, by their ids of this deployment."""

    @property
    def reached(self) -> Mapping[str, int]:
        """How often something has come to what a fault waits with, by the fault's name.

        A process to its crash point, a request to an outage.
        """

    @property
    def discarded_events(self) -> Collection[str]:
        """The ids of events that nobody could read, and that operators have discarded."""

    async def restore(self) -> None:
        """See that everything is as it was before the first fault."""

    async def redrive(self) -> None:
        """Do what operators do about dead letters, once all has come to rest.

        What a service that lost its last seconds gave up before it had caught up is handled again.
        """


def does(
    work: Callable[..., Awaitable[object]], *arguments: object
) -> Callable[[Mapping[str, Any]], Awaitable[bool]]:
    """Make a fault by calling that, whatever the step says; it says if there was nothing to break."""

    async def make(_step: Mapping[str, Any]) -> bool:
        return await work(*arguments) is not False

    return make


async def nothing() -> None:
    """What was made is over already."""
