"""Resource names in requests."""

from typing import TypeVar

from services.runtime.auth.call_context import caller
from services.runtime.resource_names import KeyPattern

K = TypeVar("K")


def read_name(pattern: KeyPattern[K], name: str) -> K:
    """The key in a name. Raises PERMISSION_DENIED if its tenant, the first id, is not the caller's."""
    ids = pattern.parse(name)
    caller().check(ids[0])
    return pattern.to_key(*ids)
