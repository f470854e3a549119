"""The scheduler's RPCs: validate, decide, store, answer."""

from services.scheduler.api.servicer import SCOPES, Servicer

__all__ = ["SCOPES", "Servicer"]
