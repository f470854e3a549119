"""Where histories are played, and which faults can be made there."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cli.connect import Session


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that fails, and how it is made whole again; both may be done twice."""

    make: Callable[[Mapping[str, Any]], Awaitable[None]]
    heal: Callable[[], Awaitable[None]]
    # It stays over some steps; else it begins and ends while one goes on.
    lasting: bool = False
    # A service that loses what was acknowledged meanwhile; platforms send it again.
    forgets: str = ""
    # What operators do once platforms have.
    settle: Callable[[], Awaitable[None]] | None = None


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
        """How often a process has come to the crash point of a fault, by the fault's name."""

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
) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
    """Make a fault by calling that, whatever the step says."""

    async def make(_step: Mapping[str, Any]) -> None:
        await work(*arguments)

    return make


async def nothing() -> None:
    """What was made is over already."""
