"""By what a customer and a merchant find what a notice is about. Pure."""

import re

_ORDER = re.compile(
    r"^merchants/[^/]+/standingOrders/(?P<standing_order>[^/]+)(/orders/(?P<cycle>\d+))?$"
)


def reference_of(resource: str) -> str:
    """Of an order its standing order and number, for example "ann-tea/3"; of anything else none.

    Documents have numbers of their own, and cards the digits that their owner knows.
    """
    found = _ORDER.match(resource)
    if found is None:
        return ""
    return "/".join(filter(None, found.group("standing_order", "cycle")))
