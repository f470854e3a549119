"""Notify's due work."""

from services.notify.workers.deliveries import Deliveries
from services.notify.workers.phones import PhoneChanges, PhoneSilence
from services.notify.workers.receipts import Receipts

__all__ = ["Deliveries", "PhoneChanges", "PhoneSilence", "Receipts"]
