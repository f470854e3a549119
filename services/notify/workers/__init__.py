"""Notify's due work."""

from services.notify.workers.deliveries import Deliveries
from services.notify.workers.monthly_summaries import MonthlySummaries
from services.notify.workers.phones import PhoneChanges, PhoneSilence
from services.notify.workers.receipts import Receipts
from services.notify.workers.replies import Replies, ReplyActs

__all__ = [
    "Deliveries", "MonthlySummaries", "PhoneChanges", "PhoneSilence", "Receipts", "Replies",
    "ReplyActs",
]  # fmt: skip
