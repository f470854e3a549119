"""Who may call which method of the scheduler, and what customers may set by it."""

from services.runtime.auth.authenticator import Access
from services.runtime.auth.customer_access import by_name, by_row

READ, WRITE = "standing-orders:read", "standing-orders:write"
# Enough for a page that customers follow the links of notices to: the token is the authority.
ACT = "standing-orders:act"
# What customers set of their own standing orders. Price protection, conditions, tax id and the times of
# notices and payment are the merchant's terms.
_OWN = (
    "standing_order.title", "standing_order.items", "standing_order.schedule",
    "standing_order.mandate", "standing_order.ship_to",
)  # fmt: skip
# Not the id: one that is taken would show that another customer has it.
_OWN_NEW = (
    *_OWN, "standing_order.billing_mode", "standing_order.currency", "standing_order.promotion_code",
)  # fmt: skip
_OWN_CHANGE = ("change.cycle", "change.local_date", "change.items", "change.ship_to")
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "CreateStandingOrder": Access(
        WRITE, customer=by_name("standing_order.customer", *_OWN_NEW, "allow_duplicate")
    ),
    "GetStandingOrder": Access(READ, customer=by_row("name")),
    "ListStandingOrders": Access(READ, customer=by_name("customer", "state", "product")),
    "ListPriceProtections": Access(
        READ, customer=by_name("customer", "standing_order", "product", "end_before_time")
    ),
    "UpdateStandingOrder": Access(
        WRITE, customer=by_row("standing_order.name", *_OWN, "allow_duplicate")
    ),
    "PreviewStandingOrderUpdate": Access(READ, customer=by_row("standing_order.name", *_OWN)),
    "PauseStandingOrder": Access(
        WRITE, services=("notify",), customer=by_row("name", "until_time", "cycle_count")
    ),
    "ResumeStandingOrder": Access(WRITE, customer=by_row("name", "anchor_date")),
    "CancelStandingOrder": Access(WRITE, customer=by_row("name", "after_current_cycle")),
    "SkipCycle": Access(WRITE, services=("notify",), customer=by_row("name", "cycle")),
    "RestoreCycle": Access(WRITE, customer=by_row("name", "cycle")),
    "ChangeCycle": Access(WRITE, customer=by_row("name", *_OWN_CHANGE)),
    "OrderNow": Access(WRITE, customer=by_row("name")),
    "PreviewCycles": Access(READ, customer=by_row("name")),
    "GetOrder": Access(READ, customer=by_row("name")),
    "ListOrders": Access(
        READ, customer=by_name("customer", "state", "due_from_time", "due_before_time")
    ),
    "ForecastDemand": Access(READ),
    "GetStockCoverage": Access(READ),
    "PreviewPriceChange": Access(READ),
    "ExplainOrder": Access(READ),
    "ImportStandingOrders": Access(WRITE),
    "ConfirmOrder": Access(WRITE, customer=by_row("name")),
    "ResolveActionLink": Access(ACT),
    "ActByLink": Access(ACT),
    "RecordPurchase": Access(WRITE),
    "EraseCustomer": Access(WRITE),
    "GetSchedulerSettings": Access(READ),
    "UpdateSchedulerSettings": Access(WRITE),
    "ListAuditEntries": Access("audit:read"),
}
