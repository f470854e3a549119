"""The catalog's RPCs: validate, decide, store, answer."""

from services.catalog.api.access import ACCESS
from services.catalog.api.servicer import Servicer

__all__ = ["ACCESS", "Servicer"]
