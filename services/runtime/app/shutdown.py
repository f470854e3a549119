"""What tells a process to stop: SIGTERM and SIGINT, which are left pending.

A pending signal cannot be missed. A handler is not there yet while the process starts: a signal would
end it then, and of the first process of a container the kernel drops it.
"""

import asyncio
import signal

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
HEAR_SECONDS = 0.1


def keep_pending() -> None:
    """Leave what tells to stop pending, in this thread and in those that it will start."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def shutdown_requested() -> bool:
    """Whether the process was told to stop; nothing undoes it."""
    return not STOP_SIGNALS.isdisjoint(signal.sigpending())


async def wait_for_shutdown() -> None:
    """Return once the process was told to stop."""
    while not shutdown_requested():  # noqa: ASYNC110 - nobody announces what is pending
        await asyncio.sleep(HEAR_SECONDS)
