"""The scheduler's RPCs: request, use case, response."""

from services.scheduler.api.access import ACCESS
from services.scheduler.api.servicer import Servicer

__all__ = ["ACCESS", "Servicer"]
