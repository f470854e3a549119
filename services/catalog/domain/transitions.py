"""What may happen to a product and to a hold of stock, and where it leads.

The database has guards of its own: the CHECK of each table allows these states, and its trigger refuses
whatever leads out of a final one.
"""

from enum import StrEnum

from services.catalog.domain.products import ProductState
from services.runtime.transitions import Transitions


class ProductEvent(StrEnum):
    """What happens to a product."""

    DISCONTINUE = "DISCONTINUE"


class HoldState(StrEnum):
    """Where the held units of one product for one order are."""

    HELD = "HELD"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"


class HoldEvent(StrEnum):
    """What happens to a hold."""

    COMMIT = "COMMIT"
    RELEASE = "RELEASE"
    HOLD_AGAIN = "HOLD_AGAIN"


PRODUCT = Transitions({(ProductState.ACTIVE, ProductEvent.DISCONTINUE): ProductState.DISCONTINUED})
HOLD = Transitions(
    {
        (HoldState.HELD, HoldEvent.COMMIT): HoldState.COMMITTED,
        (HoldState.HELD, HoldEvent.RELEASE): HoldState.RELEASED,
        # An order whose stock was given back may hold it once more.
        (HoldState.RELEASED, HoldEvent.HOLD_AGAIN): HoldState.HELD,
    }
)
