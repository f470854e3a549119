"""`python -m deploy.embedded.supervisor MODULE`: run a service, and restart it when it asks for that.

A service asks by EXIT_RESTART, when a file of its SECRETS_FOLDER has changed. Any other end is the
supervisor's own end, with the same status; SIGTERM and SIGINT are passed on, and end it for good.
"""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence

EXIT_RESTART = (
    75  # As services.runtime.app.bootstrap, which is not imported here; a test compares them.
)
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
WATCHED_SIGNALS = STOP_SIGNALS | {signal.SIGCHLD}
# PR_SET_PDEATHSIG of prctl(2).
_SET_PARENT_DEATH_SIGNAL = 1


def main(arguments: Sequence[str]) -> int:
    """Run `python -m` with the arguments until it ends for good; returns its exit status."""
    # A signal that is ignored by default is only kept for sigwait where it has a handler.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # The service inherits this, so a signal to stop finds it even before it listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED_SIGNALS)
    stopping = False
    while True:
        service = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - there are no threads here
        )
        while (status := service.poll()) is None:
            number = signal.sigwait(WATCHED_SIGNALS)
            if number in STOP_SIGNALS:
                stopping = True
                service.send_signal(number)
        if status != EXIT_RESTART:
            return status if status >= 0 else 128 - status
        if stopping:
            # The signal came while the service was ending by itself.
            return 0


def _end_with_parent() -> None:
    """Have Linux kill the service with its supervisor, as a crash of the whole part."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
