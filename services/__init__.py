"""The four services and the runtime that they share."""

import os
import zoneinfo

# gRPC's core has a log of its own on standard error, with a line for whatever a stranger sends amiss.
# It reads this when it is imported; what goes wrong for us it raises.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# The locked `tzdata` is the only source of zone data. Python would take the machine's files and
# PYTHONTZPATH before it, and two processes would charge the same schedule at different times.
zoneinfo.reset_tzpath(to=())
zoneinfo.ZoneInfo.clear_cache()
