"""What may happen to a product and to a hold of stock, and where it leads.

The database has guards of its own: the CHECK of each table allows these states, and its trigger refuses
whatever leads out of a final one.
"""

from enum import StrEnum

from services.catalog.domain.offers import OfferState
from services.catalog.domain.products import ProductState
from services.catalog.domain.promotions import PromotionState
from services.runtime.transitions import Transitions


class ProductEvent(StrEnum):
    """What happens to a product."""

    DISCONTINUE = "DISCONTINUE"


class PromotionEvent(StrEnum):
    """What happens to a promotion."""

    END = "END"


class OfferEvent(StrEnum):
    """What happens to an offer of price protection."""

    END = "END"


class HoldState(StrEnum):
    """Where the units of one order are."""

    HELD = "HELD"
    COMMITTED = "COMMITTED"
    # Available again; the order may hold some once more.
    RELEASED = "RELEASED"
    # Available again, and for good: the order ended without payment.
    ENDED = "ENDED"
    # The order is paid, and its units were gone by then: the merchant owes them.
    BACKORDERED = "BACKORDERED"
    # The order is paid, and its units are not owed any more: it was refunded, or served otherwise.
    WAIVED = "WAIVED"


class HoldEvent(StrEnum):
    """What happens to a hold."""

    COMMIT = "COMMIT"
    RELEASE = "RELEASE"
    END = "END"
    HOLD_AGAIN = "HOLD_AGAIN"
    # It is paid and cannot be held again.
    OWE = "OWE"
    # What is owed has come.
    SERVE = "SERVE"
    WAIVE = "WAIVE"


class DeliveryState(StrEnum):
    """What has become of a delivery."""

    EXPECTED = "EXPECTED"
    RECEIVED = "RECEIVED"
    CANCELLED = "CANCELLED"


class DeliveryEvent(StrEnum):
    """What happens to a delivery."""

    RECEIVE = "RECEIVE"
    CANCEL = "CANCEL"


PRODUCT = Transitions({(ProductState.ACTIVE, ProductEvent.DISCONTINUE): ProductState.DISCONTINUED})
DELIVERY = Transitions(
    {
        (DeliveryState.EXPECTED, DeliveryEvent.RECEIVE): DeliveryState.RECEIVED,
        (DeliveryState.EXPECTED, DeliveryEvent.CANCEL): DeliveryState.CANCELLED,
    }
)
PROMOTION = Transitions({(PromotionState.ACTIVE, PromotionEvent.END): PromotionState.ENDED})
OFFER = Transitions({(OfferState.ACTIVE, OfferEvent.END): OfferState.ENDED})
HOLD = Transitions(
    {
        (HoldState.HELD, HoldEvent.COMMIT): HoldState.COMMITTED,
        (HoldState.HELD, HoldEvent.RELEASE): HoldState.RELEASED,
        (HoldState.RELEASED, HoldEvent.HOLD_AGAIN): HoldState.HELD,
        (HoldState.HELD, HoldEvent.END): HoldState.ENDED,
        (HoldState.RELEASED, HoldEvent.END): HoldState.ENDED,
        # The customer took the skip of a cycle back, and it was announced again.
        (HoldState.ENDED, HoldEvent.HOLD_AGAIN): HoldState.HELD,
        (HoldState.RELEASED, HoldEvent.OWE): HoldState.BACKORDERED,
        (HoldState.ENDED, HoldEvent.OWE): HoldState.BACKORDERED,
        (HoldState.BACKORDERED, HoldEvent.SERVE): HoldState.COMMITTED,
        (HoldState.BACKORDERED, HoldEvent.WAIVE): HoldState.WAIVED,
    }
)
