"""Notify's RPCs: validate, decide, store, answer."""

from services.notify.api.servicer import SCOPES, Servicer

__all__ = ["SCOPES", "Servicer"]
