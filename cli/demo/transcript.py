"""Advances the clock from one action to the next, and prints actions and events."""

from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from nats.aio.client import Client
from rich.progress import Progress, TaskID
from rich.text import Text

from cli.clock import new_progress
from cli.connect import Session
from cli.demo.participants import Participants
from cli.demo.plan import Plan
from cli.events import SeenEvent, event_line, subscribe
from cli.names import last_id
from cli.values import format_moment


class Transcript:
    """Prints what people do and the events of the services, with the simulated time."""

    def __init__(self, session: Session, participants: Participants, dates: Plan) -> None:
        self._session = session
        self._console = session.output.console
        self._first_names = participants.first_names()
        self._run_ending = f"-{participants.run}"
        self._start = dates.start
        self._length = dates.end - dates.start
        self._now = dates.start
        self._progress: Progress = new_progress(self._console)
        self._task = TaskID(0)
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        self._client = await subscribe(self._session.stack, self._session.merchant, self._see)
        self._progress.start()
        self._task = self._progress.add_task(
            format_moment(self._start), total=self._length / timedelta(seconds=1)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if self._client is not None:
            await self._client.close()

    async def advance(self, to: datetime) -> None:
        """Move the clock to an instant; everything that falls due meanwhile has happened then."""
        if to <= self._now:
            await self.settle()
            return
        async for step in self._session.sandbox.advance(to):
            self._now = step.now
            self._progress.update(
                self._task,
                completed=(step.now - self._start).total_seconds(),
                description=format_moment(step.now),
            )

    async def settle(self) -> None:
        """Wait until all that follows from what was done now has happened."""
        await self._session.sandbox.settle()

    def print_action(self, who: str, text: str) -> None:
        """Print what a person does."""
        when = f"{format_moment(self._now)}  "
        self._print(Text.assemble((when, "dim"), (f"{who:<10} ", "bold"), (text, "yellow")))

    async def _see(self, event: SeenEvent) -> None:
        """Print an event if it is of this run."""
        if event.customer in self._first_names:
            self._print(event_line(event, self._first_names[event.customer]))
        elif last_id(getattr(event.message, "product", "")).endswith(self._run_ending):
            self._print(event_line(event, "merchant"))

    def _print(self, line: Text) -> None:
        """Print a line unbroken; the terminal wraps it."""
        self._console.print(line, soft_wrap=True)
