"""The scheduler's RPCs: validate, decide, store, answer."""

from services.scheduler.api.servicer import ACCESS, Servicer

__all__ = ["ACCESS", "Servicer"]
