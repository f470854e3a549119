"""Notify's RPCs: validate, decide, store, answer."""

from services.notify.api.access import ACCESS
from services.notify.api.servicer import Servicer

__all__ = ["ACCESS", "Servicer"]
