"""Ends and stops of a service at a named point, and who goes on with its work."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, TypeVar

import psutil

from cli.errors import CommandError
from cli.faults.target import Fault
from deploy.embedded.addresses import SERVICES
from deploy.embedded.process import PartError
from deploy.embedded.program import Program
from deploy.embedded.stack import EmbeddedStack

T = TypeVar("T")

SETTING = "RECURRING_CRASH_POINT"
POLL_SECONDS = 0.02
# The shortest lease that every service accepts, so that histories wait for it as little as they can.
LEASE_SECONDS = 24
# What an event that nobody can read is tried again after: it is a dead letter after seven of them.
EVENT_RETRY_SECONDS = 0.2
SETTINGS = {
    "RECURRING_LEASE_SECONDS": str(LEASE_SECONDS),
    "RECURRING_EVENT_RETRY_SECONDS": str(EVENT_RETRY_SECONDS),
}
# Longer than a lease, and for the other one to do the work.
BEYOND_LEASE_SECONDS = LEASE_SECONDS + 7.0

# The crash points of each service; a test compares them with those that there are.
RUNTIME_POINTS = (
    "mutation.committed", "outbox.read", "outbox.published", "inbox.received", "inbox.handled",
)  # fmt: skip
POINTS: Mapping[str, tuple[str, ...]] = {
    "catalog": (
        *RUNTIME_POINTS,
        *("catalog.stock_held", "catalog.holds_expired", "catalog.backorders_served"),
        "catalog.bookings_expired",
    ),
    "scheduler": (
        *RUNTIME_POINTS,
        *("scheduler.prepare_read", "scheduler.prepare_decided", "scheduler.prepare_committed"),
        *("scheduler.collect_read", "scheduler.collect_held", "scheduler.collect_committed"),
        *("scheduler.pauses_ended", "scheduler.leads_found", "scheduler.leads_committed"),
        *("scheduler.discontinuation_decided", "scheduler.discontinuation_committed"),
        *("scheduler.protection_endings_committed", "scheduler.price_change_walked"),
        *("scheduler.price_notices_decided", "scheduler.price_notices_committed"),
        *("scheduler.promotion_endings_found", "scheduler.promotion_endings_committed"),
    ),
    "payments": (
        *RUNTIME_POINTS,
        *("payments.attempt_committed", "payments.attempt_answered", "payments.attempt_settled"),
        *("payments.lookup_read", "payments.lookup_found", "payments.resend_committed"),
        *("payments.refund_read", "payments.refund_answered", "payments.refund_settled"),
        "payments.request_expired",
        *("payments.request_reminded", "payments.documents_read", "payments.documents_issued"),
        *("payments.webhook_stored", "payments.webhooks_handled", "payments.revenue_recognized"),
        *("payments.expiry_answered", "payments.expiry_settled", "payments.disputes_found"),
        *("payments.disputes_settled", "payments.dispute_responses_answered"),
        "payments.dispute_responses_settled",
    ),
    "notify": (
        *RUNTIME_POINTS,
        *("notify.delivery_read", "notify.deliveries_held", "notify.delivery_begun"),
        *("notify.delivery_sent", "notify.delivery_finished", "notify.attachments_downloaded"),
        *("notify.callback_committed", "notify.webhook_read", "notify.webhook_sent"),
        *("notify.webhook_finished", "notify.receipts_answered", "notify.receipts_committed"),
        *("notify.replies_decided", "notify.replies_acted", "notify.replies_finished"),
        *("notify.phones_changed", "notify.silent_phones_lapsed", "notify.months_summed_up"),
    ),
}


class After(StrEnum):
    """What becomes of a service's work after a process of it came to its point."""

    # It ends, and is started again.
    CRASH = "crash"
    # It ends, and another process takes its work over once its lease has ended.
    TAKEOVER = "take over from"
    # It stops, another works, and it goes on long after its lease has ended.
    OUTLIVE = "outlive"


class Crashes:
    """The crash points of a stack's services."""

    def __init__(self, stack: EmbeddedStack, locks: Mapping[str, asyncio.Lock]) -> None:
        self._stack = stack
        self._locks = locks
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._replicas: dict[str, Program] = {}
        # How often each fault has come to its point.
        self.reached: Counter[str] = Counter()

    def faults(self) -> dict[str, Fault]:
        """A fault for each point and each way to go on."""
        return {
            fault_name(after, service, point): Fault(
                self._arming(after, service, point),
                self._healing(service),
                lasting=True,
                waits=True,
            )
            for after in After
            for service in SERVICES
            for point in POINTS[service]
        }

    def _arming(
        self, after: After, service: str, point: str
    ) -> Callable[[Mapping[str, Any]], Awaitable[bool]]:
        async def make(step: Mapping[str, Any]) -> bool:
            await self.disarm(service)
            setting = f"{point}:{step.get('nth', 1)}"
            if after is After.OUTLIVE:
                setting += ":stop"
            async with self._locks[service]:
                await in_thread(self._stack.kill, service)
                await in_thread(self._stack.start, service, {SETTING: setting})
            watch = self._watch(after, service, fault_name(after, service, point))
            self._watches[service] = asyncio.create_task(watch)
            return True

        return make

    def _healing(self, service: str) -> Callable[[], Awaitable[None]]:
        async def heal() -> None:
            await self.disarm(service)

        return heal

    async def _watch(self, after: After, service: str, name: str) -> None:
        """Wait for the process to come to its point, and have others go on."""
        has_come = await self._until_end(service)
        if has_come:
            self.reached[name] += 1
        if has_come and after is not After.CRASH:
            await self._start_replica(service)
            await asyncio.sleep(BEYOND_LEASE_SECONDS)
        if stopped := self._stack.process_of(service).find():
            # Now it writes what it had in hand, beside whoever has done the same work since.
            stopped.resume()
            return
        async with self._locks[service]:
            await in_thread(self._stack.start, service)

    async def _until_end(self, service: str) -> bool:
        """Wait until the process has ended or stopped; whether it did so by itself."""
        while process := self._stack.process_of(service).find():
            with suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_STOPPED:
                    return True
            await asyncio.sleep(POLL_SECONDS)
        return service in self._watches

    async def disarm(self, service: str) -> None:
        """See that one process of a service runs, and that none ends by itself any more."""
        watch = self._watches.pop(service, None)
        process = self._stack.process_of(service).find()
        waits = watch is not None and not watch.done()
        if waits and process is not None and process.status() != psutil.STATUS_STOPPED:
            # It never came to its point: its watch starts it now as it ever was.
            async with self._locks[service]:
                await in_thread(self._stack.kill, service)
        if watch is not None:
            await watch
        replica = self._replicas.pop(service, None)
        if replica is not None:
            await in_thread(replica.stop)

    async def _start_replica(self, service: str) -> None:
        replica = self._stack.replica(service, 2)
        self._replicas[service] = replica
        await in_thread(replica.start)

    async def close(self) -> None:
        """End what was started beside the stack."""
        for watch in self._watches.values():
            watch.cancel()
        for replica in self._replicas.values():
            await in_thread(replica.kill)


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Do what blocks. Raises CommandError if a part of the stack does not do what it should.

    A thread cannot be stopped: an interruption waits until it is over, so that what it has started can
    be ended.
    """
    doing = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise
    except PartError as error:
        raise CommandError(str(error)) from error


def fault_name(after: After, service: str, point: str) -> str:
    """What a step calls it."""
    return f"{after} {service} at {point}"
