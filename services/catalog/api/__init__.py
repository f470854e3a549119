"""The catalog's RPCs: validate, decide, store, answer."""

from services.catalog.api.servicer import ACCESS, Servicer

__all__ = ["ACCESS", "Servicer"]
