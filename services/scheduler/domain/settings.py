"""How a merchant's standing orders behave beyond what each says of itself. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from services.scheduler.domain.ids import MerchantId


class UnpaidPolicy(StrEnum):
    """What the next cycle does while an order of the same standing order is unpaid."""

    GO_ON = "GO_ON"
    WAIT = "WAIT"
    PAUSE = "PAUSE"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """A merchant's settings; each merchant has one set."""

    merchant: MerchantId
    unpaid_policy: UnpaidPolicy = UnpaidPolicy.GO_ON
    # For so many days an order that lapsed unpaid can still be paid; 0: never.
    late_payment_days: int = 0
    # Where customers act on notices, with `{token}`; empty: nowhere.
    action_page_uri: str = ""
    version: int = 0
