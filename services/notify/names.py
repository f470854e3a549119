"""The resource names that notify reads and writes (AIP-122)."""

from services.notify.domain.notices import CustomerKey, MerchantId, NoticeKey
from services.notify.domain.templates.own import TemplateKey
from services.runtime.resource_names import KeyPattern

_CUSTOMER = "merchants/{merchant}/customers/{customer}"

MERCHANT = KeyPattern("merchants/{merchant}", MerchantId)
CUSTOMER = KeyPattern(_CUSTOMER, CustomerKey)
CONTACT = KeyPattern(_CUSTOMER + "/contact", CustomerKey)
NOTICE = KeyPattern(_CUSTOMER + "/notices/{notice}", NoticeKey)
NOTICE_TEMPLATE = KeyPattern("merchants/{merchant}/noticeTemplates/{notice_template}", TemplateKey)
