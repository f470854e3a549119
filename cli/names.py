"""Resource names (AIP-122), which people may shorten to the last id."""

import re

import typer

COLLECTIONS = {
    "merchants",
    "products",
    "prices",
    "deliveries",
    "customers",
    "paymentMethods",
    "mandates",
    "charges",
    "disputes",
    "documents",
    "standingOrders",
    "orders",
    "rulePacks",
    "taxRates",
    "promotions",
    "priceProtectionOffers",
    "webhookEndpoints",
    "noticeTemplates",
}
_VARIABLE = re.compile(r"\{(\w+)\}")

PRODUCT = "products/{product}"
DELIVERY = "products/{product}/deliveries/{delivery}"
PRICE = "products/{product}/prices/{price}"
PROMOTION = "promotions/{promotion}"
OFFER = "priceProtectionOffers/{price_protection_offer}"
TAX_RATE = "taxRates/{tax_rate}"
RULE_PACK = "rulePacks/{rule_pack}"
CUSTOMER = "customers/{customer}"
CONTACT = "customers/{customer}/contact"
PAYMENT_METHOD = "customers/{customer}/paymentMethods/{payment_method}"
MANDATE = "customers/{customer}/mandates/{mandate}"
CHARGE = "customers/{customer}/charges/{charge}"
REFUND = "customers/{customer}/charges/{charge}/refunds/{refund}"
DISPUTE = "disputes/{dispute}"
DOCUMENT = "documents/{document}"
WEBHOOK_ENDPOINT = "webhookEndpoints/{webhook_endpoint}"
NOTICE_TEMPLATE = "noticeTemplates/{notice_template}"
STANDING_ORDER = "standingOrders/{standing_order}"
ORDER = "standingOrders/{standing_order}/orders/{cycle}"


def full_name(merchant: str, pattern: str, text: str) -> str:
    """The full name of a resource of the merchant.

    `text` is the full name, the name below the merchant, or only the ids, for example `tea`,
    `products/tea` or `merchants/demo/products/tea`; ids of nested resources are joined by a slash,
    as in `monthly-tea/3` for an order.
    """
    expression = _VARIABLE.sub(r"[^/]+", pattern)
    if re.fullmatch(f"merchants/[^/]+/{expression}", text):
        return text
    if re.fullmatch(expression, text):
        return f"merchants/{merchant}/{text}"
    ids = text.split("/")
    variables = _VARIABLE.findall(pattern)
    # Two segments that begin with a collection are the name of something else, not two ids.
    named = len(ids) > 1 and ids[0] in COLLECTIONS
    if len(ids) != len(variables) or not all(text.strip() for text in ids) or named:
        short = "/".join(variables).upper()
        raise typer.BadParameter(f"{text!r} is not {short}, merchants/{merchant}/{pattern} in full")
    filled = pattern.format(**dict(zip(variables, ids, strict=True)))
    return f"merchants/{merchant}/{filled}"


def last_id(name: str) -> str:
    """The last id of a name, which identifies the resource among its kind."""
    return name.rpartition("/")[2]


def id_of(name: str, collection: str) -> str:
    """The id that follows a collection in a name, for example that of `customers`; else empty."""
    segments = name.split("/")
    if collection not in segments[:-1]:
        return ""
    return segments[segments.index(collection) + 1]


def short_name(name: str) -> str:
    """The ids below the merchant, joined by a slash: what people type and read."""
    return "/".join(name.split("/")[3::2])
