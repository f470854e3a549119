"""Payment methods: registered by a token that the provider knows, ordered, replaced and ended."""

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from services.payments.application.mandate_terms import changed_events
from services.payments.clients.provider import Card, Provider
from services.payments.clients.providers import Providers
from services.payments.domain.bank_debits import debits_in
from services.payments.domain.consent import Mandate
from services.payments.domain.keys import CustomerKey, PaymentMethodId, PaymentMethodKey
from services.payments.domain.payment_methods import PaymentMethod, PaymentMethodKind
from services.payments.domain.payment_routing import PaymentRouting
from services.payments.store import mandates as mandate_store
from services.payments.store import payment_methods as store
from services.payments.store.encrypted import token_aad
from services.runtime.auth import call_context, customer_access
from services.runtime.crypto.encryption import encrypt
from services.runtime.db.pool import Connection
from services.runtime.errors import Problem, Violations, already_exists, not_found, wrong_state
from services.runtime.mutations import Applied

NAMED_MAX_MANDATES = 3


class WantedToken(NamedTuple):
    """A token that is to be registered, and what its caller says of it."""

    token: str
    # Empty: that of the kind.
    provider: str
    kind: PaymentMethodKind | None


class FoundToken(NamedTuple):
    """A token, and what its provider shows of it."""

    token: str
    provider: str
    card: Card


async def find_token(
    providers: Providers, wanted: WantedToken, routing: PaymentRouting
) -> FoundToken:
    """What a token stands for, at the provider that it is of.

    Raises FAILED_PRECONDITION PROVIDER_TOKEN_UNKNOWN, INVALID_ARGUMENT for a provider that there is
    not or that does not take the kind, and for a token of another kind.
    """
    provider = _provider(providers, wanted, routing)
    card = await provider.card(wanted.token)
    if card is None:
        raise wrong_state("PROVIDER_TOKEN_UNKNOWN", "the provider does not know the token")
    violations = Violations()
    violations.require(
        "payment_method.kind",
        f"must be {card.kind}, as the provider says of the token, or left out",
        met=wanted.kind in {None, card.kind},
    )
    violations.check()
    return FoundToken(wanted.token, provider.name, card)


def _provider(providers: Providers, wanted: WantedToken, routing: PaymentRouting) -> Provider:
    """The provider of a token: the one that is named, or chosen by the merchant, or takes the kind."""
    violations = Violations()
    named = providers.get(wanted.provider) if wanted.provider else None
    names = ", ".join(providers.names)
    violations.require(
        "payment_method.provider",
        f"must be one of {names}, or left out",
        met=named is not None or not wanted.provider,
    )
    violations.check()
    # A choice of what this process does not have any more counts as none.
    chosen = providers.get(routing.chosen(wanted.kind or PaymentMethodKind.CARD))
    of_deployment = providers.of_kind(wanted.kind) if wanted.kind else providers.default
    found = named or chosen or of_deployment
    takes_kind = found is not None and wanted.kind in {None, *found.capabilities.kinds}
    violations.require(
        "payment_method.kind",
        f"must be a kind that {wanted.provider or 'a provider of this deployment'} takes",
        met=takes_kind,
    )
    violations.check()
    assert found is not None  # noqa: S101 - it takes the kind
    return found


async def create(
    tx: Connection, key: PaymentMethodKey, found: FoundToken, now: datetime
) -> Applied[PaymentMethod]:
    """Register a payment method, the default if the customer has none.

    Raises ALREADY_EXISTS PAYMENT_METHOD_ALREADY_EXISTS, and as `_check_token`.
    """
    await _check_token(tx, CustomerKey(key.merchant, key.customer), found)
    method = _new(tx, key, found, now)
    terms = await mandate_store.notice_terms(tx, [method.customer_key])
    for candidate in (replace(method, is_default=True), method):
        if await store.insert(tx, candidate):
            return Applied(candidate, events=await changed_events(tx, terms, now))
    raise already_exists("PAYMENT_METHOD_ALREADY_EXISTS", key.name)


async def set_fallback_order(
    tx: Connection, key: PaymentMethodKey, fallback_order: int, now: datetime
) -> Applied[PaymentMethod]:
    """Give a payment method its place among the fallbacks, or none (0).

    Raises as `_attached_locked`.
    """
    before = await _attached_locked(tx, key)
    terms = await mandate_store.notice_terms(tx, [before.customer_key])
    after = replace(before, fallback_order=fallback_order)
    await store.save(tx, [after])
    return Applied(after, before=before, events=await changed_events(tx, terms, now))


async def set_default(
    tx: Connection, key: PaymentMethodKey, now: datetime
) -> Applied[PaymentMethod]:
    """Make a payment method the customer's default.

    Raises as `_attached_locked`, and FAILED_PRECONDITION PAYMENT_METHOD_BLOCKED.
    """
    before = await _attached_locked(tx, key)
    if before.block_time is not None:
        raise wrong_state("PAYMENT_METHOD_BLOCKED", "it was declined for good; replace it")
    terms = await mandate_store.notice_terms(tx, [before.customer_key])
    after = replace(before, is_default=True)
    former = await store.default_of(tx, before.customer_key)
    if former is not None and former.key != key:
        await store.save(tx, [replace(former, is_default=False), after])
    else:
        await store.save(tx, [after])
    return Applied(after, before=before, events=await changed_events(tx, terms, now))


async def replace_method(
    tx: Connection,
    old: PaymentMethodKey,
    new: PaymentMethodId,
    found: FoundToken,
    now: datetime,
) -> Applied[PaymentMethod]:
    """Register another token in the place of a payment method, which is detached.

    Raises as `_attached_locked` and `_check_token`, and ALREADY_EXISTS PAYMENT_METHOD_ALREADY_EXISTS.
    """
    await _check_token(tx, CustomerKey(old.merchant, old.customer), found)
    # Mandates are locked before payment methods, as by whoever begins an attempt.
    await mandate_store.lock_of_method(tx, old)
    former = await _attached_locked(tx, old)
    terms = await mandate_store.notice_terms(tx, [former.customer_key])
    key = old._replace(payment_method=new)
    await store.save(tx, [replace(former, is_default=False, detach_time=now)])
    successor = replace(
        _new(tx, key, found, now),
        is_default=former.is_default,
        fallback_order=former.fallback_order,
    )
    if not await store.insert(tx, successor):
        raise already_exists("PAYMENT_METHOD_ALREADY_EXISTS", key.name)
    await mandate_store.move(tx, old, new)
    return Applied(successor, events=await changed_events(tx, terms, now))


async def detach(
    tx: Connection, key: PaymentMethodKey, now: datetime, *, force: bool
) -> Applied[PaymentMethod]:
    """End the use of a payment method.

    Raises NOT_FOUND PAYMENT_METHOD_NOT_FOUND, FAILED_PRECONDITION PAYMENT_METHOD_IN_USE.
    """
    before = await _locked(tx, key)
    if before.detach_time is not None:
        return Applied(before, before=before)
    terms = await mandate_store.notice_terms(tx, [before.customer_key])
    after = replace(before, is_default=False, detach_time=now)
    order = (await store.in_order(tx, [before.customer_key])).get(before.customer_key, [])
    others = [method for method in order if method != key]
    if not force:
        await _check_not_needed(tx, key, now, is_last=key in order and not others)
    changed = [after]
    if before.is_default and others:
        following = await existing(tx, others[0])
        changed.append(replace(following, is_default=True))
    await store.save(tx, changed)
    return Applied(after, before=before, events=await changed_events(tx, terms, now))


async def check_scope(tx: Connection, mandate: Mandate) -> None:
    """Check that what a new mandate is charged by is there, and can be charged in its currency.

    Raises NOT_FOUND PAYMENT_METHOD_NOT_FOUND, FAILED_PRECONDITION PAYMENT_METHOD_DETACHED or
    CURRENCY_NOT_CHARGEABLE.
    """
    customer = mandate.customer_key
    if mandate.method_key is not None:
        methods = [await attached(tx, mandate.method_key)]
    else:
        in_order = (await store.in_order(tx, [customer])).get(customer, ())
        methods = list((await store.by_key(tx, in_order)).values())
    if not methods:
        raise not_found("PAYMENT_METHOD_NOT_FOUND", f"a default payment method of {customer.name}")
    if not any(debits_in(method.brand, mandate.currency) for method in methods):
        schemes = ", ".join(sorted({method.brand for method in methods}))
        raise wrong_state(
            "CURRENCY_NOT_CHARGEABLE", f"nothing is charged in {mandate.currency} by {schemes}"
        )


async def existing(connection: Connection, key: PaymentMethodKey) -> PaymentMethod:
    """A payment method. Raises NOT_FOUND PAYMENT_METHOD_NOT_FOUND."""
    method = (await store.by_key(connection, [key])).get(key)
    if method is None:
        raise not_found("PAYMENT_METHOD_NOT_FOUND", key.name)
    return method


async def attached(connection: Connection, key: PaymentMethodKey) -> PaymentMethod:
    """A payment method that was not detached.

    Raises NOT_FOUND PAYMENT_METHOD_NOT_FOUND, FAILED_PRECONDITION PAYMENT_METHOD_DETACHED.
    """
    method = await existing(connection, key)
    if method.detach_time is not None:
        raise _detached()
    return method


async def attached_or_default(
    connection: Connection, customer: CustomerKey, key: PaymentMethodKey | None
) -> PaymentMethod:
    """A payment method that was not detached or, if none is named, the customer's default.

    Raises as `attached`.
    """
    if key is not None:
        return await attached(connection, key)
    method = await store.default_of(connection, customer)
    if method is None:
        raise not_found("PAYMENT_METHOD_NOT_FOUND", f"a default payment method of {customer.name}")
    return method


async def _locked(tx: Connection, key: PaymentMethodKey) -> PaymentMethod:
    """A payment method, locked with all others of its customer. Raises as `existing`."""
    await store.lock_of_customers(tx, [CustomerKey(*key[:2])])
    return await existing(tx, key)


async def _attached_locked(tx: Connection, key: PaymentMethodKey) -> PaymentMethod:
    """As `attached`, locked with all others of its customer."""
    await store.lock_of_customers(tx, [CustomerKey(*key[:2])])
    return await attached(tx, key)


async def _check_not_needed(
    tx: Connection, key: PaymentMethodKey, now: datetime, *, is_last: bool
) -> None:
    needing = await mandate_store.of_method(
        tx, key, now, any_method=is_last, limit=NAMED_MAX_MANDATES
    )
    if needing:
        names = ", ".join(mandate.name for mandate in needing)
        raise wrong_state(
            "PAYMENT_METHOD_IN_USE",
            f"active mandates have no other payment method: {names}; replace it, or set force",
            mandates=names,
        )


async def _check_token(tx: Connection, customer: CustomerKey, found: FoundToken) -> None:
    """Refuse a customer a token that is somebody's at the provider, unless they have another of theirs.

    Whose it is there the merchant knows. A customer who has learnt another's token would pay with it.
    Raises PERMISSION_DENIED CUSTOMER_FORBIDDEN.
    """
    owner = found.card.customer
    if not (call_context.customer() and owner):
        return
    if (found.provider, owner) not in await store.provider_customers(tx, customer):
        rule = "is somebody's at the provider; the merchant alone can register it"
        raise customer_access.forbidden(["payment_method.provider_token"], rule)


def _new(tx: Connection, key: PaymentMethodKey, found: FoundToken, now: datetime) -> PaymentMethod:
    card = found.card
    return PaymentMethod(
        *key,
        provider=found.provider,
        provider_token=encrypt(tx, found.token, *token_aad(key)),
        brand=card.brand,
        last4=card.last4,
        create_time=now,
        kind=card.kind,
        expire_time=card.expire_time,
        provider_customer=card.customer,
    )


def _detached() -> Problem:
    return wrong_state("PAYMENT_METHOD_DETACHED", "its use was ended; register another")
