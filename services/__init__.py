"""The four services and the runtime that they share."""

import os
import sys
import zoneinfo

# gRPC's core has a log of its own on standard error, with a line for each malformed request.
# It reads this when it is imported; what goes wrong for us it raises.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# The locked `tzdata` is the only source of zone data. Python would take the machine's files and
# PYTHONTZPATH before it, and two processes would charge the same schedule at different times.
zoneinfo.reset_tzpath(to=())
zoneinfo.ZoneInfo.clear_cache()


def _import_nats_without_websockets() -> None:
    """Spare services aiohttp, some 10 MB, which nats-py imports for WebSockets: no NATS_URL is one."""
    if "aiohttp" in sys.modules:
        return
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # not installed
    try:
        import nats.aio.transport  # noqa: F401, PLC0415
    finally:
        del sys.modules["aiohttp"]


_import_nats_without_websockets()
