"""The RPCs of payments: request, use case, response."""

from services.payments.api.access import ACCESS
from services.payments.api.servicer import Servicer

__all__ = ["ACCESS", "Servicer"]
