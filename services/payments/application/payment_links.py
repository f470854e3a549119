"""Links by which customers pay requests: each is sent to the bound phone, and pays once."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.payments.application import charges
from services.payments.application.charges import ChargeView
from services.payments.domain.charges import Charge
from services.payments.domain.keys import CustomerKey, MerchantId, PaymentMethodKey
from services.payments.domain.payment_methods import PaymentMethod, PaymentMethodState
from services.payments.store import payment_links as store
from services.payments.store import payment_methods as payment_method_store
from services.payments.store.payment_links import PaymentLink
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations, not_found, wrong_state
from services.runtime.money import Money
from services.runtime.mutations import Applied

SHOWN_METHODS_MAX = 50


class LinkedRequest(NamedTuple):
    """What a customer sees who follows a link."""

    link: PaymentLink
    charge: Charge
    methods: Sequence[PaymentMethod]


async def resolve(
    connection: Connection, merchant: MerchantId, token: str, now: datetime
) -> LinkedRequest:
    """What a link is for, and what it can be paid with. Raises NOT_FOUND PAYMENT_LINK_NOT_FOUND."""
    link = await existing(connection, merchant, token)
    charge = await charges.existing(connection, link.charge_key)
    owner = CustomerKey(link.merchant, link.customer)
    methods = await payment_method_store.of_customer(connection, owner, "", SHOWN_METHODS_MAX)
    usable = {PaymentMethodState.ACTIVE, PaymentMethodState.EXPIRED}
    return LinkedRequest(link, charge, [one for one in methods if one.state(now) in usable])


async def pay(
    tx: Connection,
    merchant: MerchantId,
    token: str,
    method_key: PaymentMethodKey,
    amount: Money,
    now: datetime,
) -> Applied[ChargeView]:
    """Confirm the request of a link, whose token is the authority; the link is used up.

    Raises NOT_FOUND PAYMENT_LINK_NOT_FOUND, FAILED_PRECONDITION PAYMENT_LINK_USED, and as
    `charges.confirm`.
    """
    link = await existing(tx, merchant, token)
    violations = Violations()
    owner = (link.merchant, link.customer)
    met = method_key[:2] == owner
    violations.require("payment_method", "must be of the customer of the request", met=met)
    violations.check()
    if link.use_time is not None:
        raise _used()
    # This locks the charge: of several who pay by one link the first uses it.
    applied = await charges.confirm(tx, link.charge_key, method_key, amount, now)
    if not await store.use(tx, link, token, now):
        raise _used()
    return applied


async def existing(connection: Connection, merchant: MerchantId, token: str) -> PaymentLink:
    """A link by its token. Raises NOT_FOUND PAYMENT_LINK_NOT_FOUND."""
    link = await store.get(connection, merchant, token)
    if link is None:
        raise not_found("PAYMENT_LINK_NOT_FOUND", "the link")
    return link


def _used() -> Exception:
    return wrong_state("PAYMENT_LINK_USED", "a link pays once; the latest message has a new one")
