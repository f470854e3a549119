"""Who may call which method of the scheduler."""

from services.runtime.auth.authenticator import Access

READ, WRITE = "standing-orders:read", "standing-orders:write"
# Method -> who may call it. What is not named here is closed to all.
ACCESS = {
    "CreateStandingOrder": Access(WRITE),
    "GetStandingOrder": Access(READ),
    "ListStandingOrders": Access(READ),
    "ListPriceProtections": Access(READ),
    "UpdateStandingOrder": Access(WRITE),
    "PreviewStandingOrderUpdate": Access(READ),
    "PauseStandingOrder": Access(WRITE),
    "ResumeStandingOrder": Access(WRITE),
    "CancelStandingOrder": Access(WRITE),
    "SkipCycle": Access(WRITE),
    "RestoreCycle": Access(WRITE),
    "ChangeCycle": Access(WRITE),
    "OrderNow": Access(WRITE),
    "PreviewCycles": Access(READ),
    "GetOrder": Access(READ),
    "ListOrders": Access(READ),
    "ForecastDemand": Access(READ),
    "GetStockCoverage": Access(READ),
    "PreviewPriceChange": Access(READ),
    "ExplainOrder": Access(READ),
    "ImportStandingOrders": Access(WRITE),
    "ConfirmOrder": Access(WRITE),
    "RecordPurchase": Access(WRITE),
    "EraseCustomer": Access(WRITE),
    "GetSchedulerSettings": Access(READ),
    "UpdateSchedulerSettings": Access(WRITE),
    "ListAuditEntries": Access("audit:read"),
}
