"""Notify's RPCs: validate, decide, store, answer."""

from services.notify.api.servicer import ACCESS, Servicer

__all__ = ["ACCESS", "Servicer"]
