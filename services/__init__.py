"""The four services and the runtime that they share."""

import os

# gRPC's core has a log of its own on standard error, with a line for whatever a stranger sends amiss.
# It reads this when it is imported; what goes wrong for us it raises.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
