"""The catalog's RPCs: validate, decide, store, answer."""

from services.catalog.api.servicer import SCOPES, Servicer

__all__ = ["SCOPES", "Servicer"]
