"""The RPCs of payments: request, use case, response."""

from services.payments.api.servicer import ACCESS, Servicer

__all__ = ["ACCESS", "Servicer"]
