"""The resource names that notify reads and writes (AIP-122)."""

from services.notify.domain.notices import CustomerKey, MerchantId, NoticeKey
from services.runtime.resource_names import KeyPattern

_CUSTOMER = "merchants/{merchant}/customers/{customer}"

MERCHANT = KeyPattern("merchants/{merchant}", MerchantId)
CUSTOMER = KeyPattern(_CUSTOMER, CustomerKey)
CONTACT = KeyPattern(_CUSTOMER + "/contact", CustomerKey)
NOTICE = KeyPattern(_CUSTOMER + "/notices/{notice}", NoticeKey)
