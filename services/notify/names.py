"""The resource names that notify reads and writes (AIP-122)."""

from services.notify.domain.notices import (
    Channel,
    CustomerId,
    CustomerKey,
    DeliveryKey,
    MerchantId,
    NoticeId,
    NoticeKey,
)
from services.notify.domain.templates.own import TemplateKey
from services.notify.domain.webhooks import EndpointKey
from services.runtime.resource_names import KeyPattern, NamePattern


def delivery_key(merchant: str, customer: str, notice: str, channel: str) -> DeliveryKey:
    """The key of a delivery whose channel is written in lower case. Raises ValueError."""
    return DeliveryKey(
        MerchantId(merchant), CustomerId(customer), NoticeId(notice), Channel(channel.upper())
    )


# In place of a customer: all of the merchant (AIP-159).
ANY_CUSTOMER = CustomerId("-")
_CUSTOMER = "merchants/{merchant}/customers/{customer}"

MERCHANT = KeyPattern("merchants/{merchant}", MerchantId)
CUSTOMER = KeyPattern(_CUSTOMER, CustomerKey)
CUSTOMER_OR_ANY = KeyPattern(_CUSTOMER, CustomerKey, wildcard="customer")
CONTACT = KeyPattern(_CUSTOMER + "/contact", CustomerKey)
NOTICE = KeyPattern(_CUSTOMER + "/notices/{notice}", NoticeKey)
# What gateways are given, to be able to say later what became of a message; no caller sees it.
DELIVERY = KeyPattern(_CUSTOMER + "/notices/{notice}/deliveries/{channel}", delivery_key)
SETTINGS = KeyPattern("merchants/{merchant}/notifySettings", MerchantId)
NOTICE_TEMPLATE = KeyPattern("merchants/{merchant}/noticeTemplates/{notice_template}", TemplateKey)
WEBHOOK_ENDPOINT = KeyPattern(
    "merchants/{merchant}/webhookEndpoints/{webhook_endpoint}", EndpointKey
)
WEBHOOK_DELIVERY = NamePattern(
    "merchants/{merchant}/webhookEndpoints/{webhook_endpoint}/deliveries/{delivery}"
)
