"""The resource names that notify reads and writes (AIP-122)."""

from services.notify.domain.notices import CustomerId, CustomerKey, MerchantId, Notice, NoticeId
from services.runtime.resource_names import NamePattern

MERCHANT = NamePattern("merchants/{merchant}")
CUSTOMER = NamePattern("merchants/{merchant}/customers/{customer}")
CONTACT = NamePattern("merchants/{merchant}/customers/{customer}/contact")
NOTICE = NamePattern("merchants/{merchant}/customers/{customer}/notices/{notice}")


def customer_name(key: CustomerKey) -> str:
    """The customer's resource name."""
    return CUSTOMER.format(key.merchant, key.customer)


def contact_name(key: CustomerKey) -> str:
    """The resource name of a customer's contact."""
    return CONTACT.format(key.merchant, key.customer)


def notice_name(notice: Notice) -> str:
    """The notice's resource name."""
    return NOTICE.format(notice.key.merchant, notice.key.customer, notice.notice)


def parse_merchant(name: str) -> MerchantId:
    """The merchant in its name. Raises ValueError."""
    (merchant,) = MERCHANT.parse(name)
    return MerchantId(merchant)


def parse_customer(name: str) -> CustomerKey:
    """The customer in its name. Raises ValueError."""
    merchant, customer = CUSTOMER.parse(name)
    return CustomerKey(MerchantId(merchant), CustomerId(customer))


def parse_contact(name: str) -> CustomerKey:
    """The customer in the name of the contact. Raises ValueError."""
    merchant, customer = CONTACT.parse(name)
    return CustomerKey(MerchantId(merchant), CustomerId(customer))


def parse_notice(name: str) -> tuple[CustomerKey, NoticeId]:
    """The customer and the notice in its name. Raises ValueError."""
    merchant, customer, notice = NOTICE.parse(name)
    return CustomerKey(MerchantId(merchant), CustomerId(customer)), NoticeId(notice)
