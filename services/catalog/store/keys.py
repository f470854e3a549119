"""Products as the parameters of statements."""

from collections.abc import Iterable

from services.catalog.domain.products import ProductKey


def key_of(key: ProductKey) -> dict[str, str]:
    """One product."""
    return {"merchant": key.merchant, "product": key.product}


def keys_of(keys: Iterable[ProductKey]) -> dict[str, list[str]]:
    """Many products, each once."""
    # In one order, so that rows are always locked in it.
    distinct = sorted(set(keys), key=lambda key: (key.product, key.merchant))
    return {
        "merchant": [key.merchant for key in distinct],
        "product": [key.product for key in distinct],
    }
