"""A shutdown is requested by SIGTERM or SIGINT, which stay pending.

A pending signal cannot be missed. Without a handler, as during the start, a signal would kill the
process; the kernel would drop it for the first process of a container.
"""

import asyncio
import signal

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
POLL_SECONDS = 0.1


def keep_pending() -> None:
    """Keep the signals pending, in this thread and in those that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def shutdown_requested() -> bool:
    """Whether a shutdown was requested; it cannot be revoked."""
    return not STOP_SIGNALS.isdisjoint(signal.sigpending())


async def wait_for_shutdown() -> None:
    """Return when a shutdown is requested."""
    while not shutdown_requested():  # noqa: ASYNC110 - nothing announces a pending signal
        await asyncio.sleep(POLL_SECONDS)
