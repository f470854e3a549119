"""RPCs about what customers agree to: payment methods and mandates."""

from collections import Counter
from datetime import datetime

from recurring.payments.v1 import payments_pb2

from services.payments.api.requests import (
    read_customer,
    read_mandate,
    read_payment_method,
    read_payment_method_of,
)
from services.payments.api.responses import mandate_message, payment_method_message, reason_values
from services.payments.clients.provider import Provider
from services.payments.domain.consent import (
    Mandate,
    PaymentMethod,
    RefusalReason,
    mandate_reasons,
    month_of,
    ordered,
)
from services.payments.domain.keys import CustomerKey, MandateKey, PaymentMethodKey
from services.payments.domain.provider_amounts import PROVIDER_CURRENCIES
from services.payments.names import MANDATE
from services.payments.store import consent as store
from services.payments.store.encrypted import evidence_aad, token_aad
from services.runtime.db import audit
from services.runtime.db.idempotency import Mutation, mutation
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import (
    Violations,
    already_exists,
    etag_mismatch,
    not_found,
    wrong_state,
)
from services.runtime.money import DIGITS, Money
from services.runtime.rpc.conversions import etag, from_money, read_money, read_timestamp
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock


class ConsentMethods:
    """Payment methods and mandates."""

    database: Database
    _clock: Clock
    _provider: Provider

    # --- payment methods ------------------------------------------------------------------------

    async def CreatePaymentMethod(
        self, request: payments_pb2.CreatePaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        """Register a token that the provider knows."""
        token = request.payment_method.provider_token
        owner = read_customer(request.parent)
        once = Mutation(request, request.request_id)
        if (answered := await once.answered(self.database, payments_pb2.PaymentMethod)) is not None:
            return answered
        # The provider is asked before the transaction, which must not wait for it.
        card = await self._provider.card(token)
        if card is None:
            raise wrong_state("PROVIDER_TOKEN_UNKNOWN", "the provider does not know the token")
        key = PaymentMethodKey(owner, request.payment_method_id)
        encrypted = self.database.keyring.encrypt(token.encode(), *token_aad(key))
        method = PaymentMethod(key, encrypted, card.brand, card.last4, self._clock.now())

        async def create(tx: Connection) -> payments_pb2.PaymentMethod:
            if not await store.insert_payment_method(tx, method):
                raise already_exists("PAYMENT_METHOD_ALREADY_EXISTS", key.name)
            return payment_method_message(method)

        async with self.database.begin() as tx:
            return await once.once(tx, payments_pb2.PaymentMethod, create)

    async def GetPaymentMethod(
        self, request: payments_pb2.GetPaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        """Get a payment method."""
        key = read_payment_method(request.name)
        async with self.database.read() as connection:
            return payment_method_message(await existing_payment_method(connection, key))

    async def ListPaymentMethods(
        self, request: payments_pb2.ListPaymentMethodsRequest, _context: object
    ) -> payments_pb2.ListPaymentMethodsResponse:
        """List a customer's payment methods by id."""
        owner = read_customer(request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self.database.read() as connection:
            found = await store.payment_methods_of(connection, owner, after, page.limit)
        shown, token = page.cut(
            found, payment_method_message, lambda method: (method.key.payment_method,)
        )
        return payments_pb2.ListPaymentMethodsResponse(payment_methods=shown, next_page_token=token)

    # --- mandates -------------------------------------------------------------------------------

    @mutation(payments_pb2.Mandate)
    async def CreateMandate(
        self, request: payments_pb2.CreateMandateRequest, tx: Connection
    ) -> payments_pb2.Mandate:
        """Record a consent."""
        mandate = self._read_mandate(request)
        await existing_payment_method(
            tx, PaymentMethodKey(mandate.key.owner, mandate.payment_method)
        )
        if not await store.insert_mandate(tx, mandate):
            raise already_exists("MANDATE_ALREADY_EXISTS", mandate.key.name)
        return mandate_message(mandate, self.database.keyring, self._clock.now())

    def _read_mandate(self, request: payments_pb2.CreateMandateRequest) -> Mandate:
        now, wanted = self._clock.now(), request.mandate
        owner = read_customer(request.parent)
        violations = Violations()
        method = read_payment_method_of(
            violations, "mandate.payment_method", wanted.payment_method, request.parent
        )
        ceiling = read_money(violations, "mandate.charge_ceiling", wanted.charge_ceiling)
        violations.require(
            "mandate.charge_ceiling.currency_code",
            "must be a currency in which the payment provider charges",
            met=ceiling.currency not in DIGITS or ceiling.currency in PROVIDER_CURRENCIES,
        )
        month_ceiling = _read_month_ceiling(violations, wanted, ceiling)
        valid_from_time, valid_until_time = _read_validity(violations, wanted, now)
        evidence = wanted.evidence
        read_timestamp(violations, "mandate.evidence.accept_time", evidence.accept_time)
        violations.check()
        key = MandateKey(owner, request.mandate_id)
        return Mandate(
            key=key,
            payment_method=method,
            charge_ceiling_minor=ceiling.amount_minor,
            month_ceiling_minor=month_ceiling,
            currency=ceiling.currency,
            valid_from_time=valid_from_time,
            valid_until_time=valid_until_time,
            evidence=self.database.keyring.encrypt(
                evidence.SerializeToString(deterministic=True), *evidence_aad(key)
            ),
            create_time=now,
        )

    async def GetMandate(
        self, request: payments_pb2.GetMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        """Get a mandate."""
        key = read_mandate(request.name)
        async with self.database.read() as connection:
            return mandate_message(
                await _existing_mandate(connection, key), self.database.keyring, self._clock.now()
            )

    async def ListMandates(
        self, request: payments_pb2.ListMandatesRequest, _context: object
    ) -> payments_pb2.ListMandatesResponse:
        """List a customer's mandates by id."""
        owner = read_customer(request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self.database.read() as connection:
            found = await store.mandates_of(connection, owner, after, page.limit)
        shown, token = page.cut(
            found,
            lambda mandate: mandate_message(mandate, self.database.keyring, self._clock.now()),
            lambda mandate: (mandate.key.mandate,),
        )
        return payments_pb2.ListMandatesResponse(mandates=shown, next_page_token=token)

    @mutation(payments_pb2.Mandate)
    async def RevokeMandate(
        self, request: payments_pb2.RevokeMandateRequest, tx: Connection
    ) -> payments_pb2.Mandate:
        """End a consent: whoever begins an attempt holds the lock that this waits for."""
        key = read_mandate(request.name)
        mandate = await _existing_mandate(tx, key, lock=True)
        if request.etag and request.etag != etag(mandate.version):
            raise etag_mismatch(request.name)
        audit.before(mandate_message(mandate, self.database.keyring, self._clock.now()))
        if mandate.revoke_time is None:
            mandate = await store.revoke_mandate(tx, key, self._clock.now())
        return mandate_message(mandate, self.database.keyring, self._clock.now())

    async def BatchCheckMandates(
        self, request: payments_pb2.BatchCheckMandatesRequest, _context: object
    ) -> payments_pb2.BatchCheckMandatesResponse:
        """Check many mandates with one statement."""
        violations = Violations()
        checks = [
            _read_check(violations, f"checks[{index}]", check)
            for index, check in enumerate(request.checks)
        ]
        violations.check()
        async with self.database.read() as connection:
            found = await store.mandates_with_totals(
                connection, [(key, month_of(at)) for key, _, at in checks]
            )
        turn: Counter[tuple[MandateKey, datetime]] = Counter()
        response = payments_pb2.BatchCheckMandatesResponse()
        for check, (key, amount, at), (mandate, spent, blocked) in zip(
            request.checks, checks, found, strict=True
        ):
            month = key, month_of(at)[0]
            total_minor = spent + _planned_minor(check) + turn[month]
            reasons = mandate_reasons(
                mandate, amount.amount_minor, amount.currency, total_minor, at
            )
            if blocked:
                reasons.add(RefusalReason.PAYMENT_METHOD_BLOCKED)
            response.results.add(reasons=reason_values(ordered(reasons)))
            if request.in_turn and not reasons:
                turn[month] += amount.amount_minor
        return response


async def existing_payment_method(connection: Connection, key: PaymentMethodKey) -> PaymentMethod:
    """A payment method; raises NOT_FOUND."""
    found = (await store.payment_methods(connection, [key])).get(key)
    if found is None:
        raise not_found("PAYMENT_METHOD_NOT_FOUND", key.name)
    return found


async def _existing_mandate(
    connection: Connection, key: MandateKey, *, lock: bool = False
) -> Mandate:
    found = (await store.mandates(connection, [key], lock=lock)).get(key)
    if found is None:
        raise not_found("MANDATE_NOT_FOUND", key.name)
    return found


# --- wire to domain -----------------------------------------------------------------------------


def _read_month_ceiling(
    violations: Violations, wanted: payments_pb2.Mandate, charge_ceiling: Money
) -> int | None:
    if not wanted.HasField("month_ceiling"):
        return None
    ceiling = read_money(violations, "mandate.month_ceiling", wanted.month_ceiling)
    violations.require(
        "mandate.month_ceiling.currency_code",
        "must be the currency of charge_ceiling",
        met=ceiling.currency == charge_ceiling.currency,
    )
    return ceiling.amount_minor


def _read_validity(
    violations: Violations, wanted: payments_pb2.Mandate, now: datetime
) -> tuple[datetime, datetime | None]:
    valid_from_time = now
    if wanted.HasField("valid_from_time"):
        valid_from_time = read_timestamp(
            violations, "mandate.valid_from_time", wanted.valid_from_time
        )
    if not wanted.HasField("valid_until_time"):
        return valid_from_time, None
    valid_until_time = read_timestamp(
        violations, "mandate.valid_until_time", wanted.valid_until_time
    )
    violations.require(
        "mandate.valid_until_time",
        "must be later than valid_from_time, and not past",
        met=valid_until_time > max(valid_from_time, now),
    )
    return valid_from_time, valid_until_time


def _planned_minor(check: payments_pb2.MandateCheck) -> int:
    if not check.HasField("planned_amount"):
        return 0
    return from_money(check.planned_amount).amount_minor


def _read_check(
    violations: Violations, field: str, check: payments_pb2.MandateCheck
) -> tuple[MandateKey, Money, datetime]:
    merchant, customer, mandate = MANDATE.parse(check.mandate)
    amount = read_money(violations, f"{field}.amount", check.amount)
    charge_time = read_timestamp(violations, f"{field}.charge_time", check.charge_time)
    return MandateKey(CustomerKey(customer, merchant), mandate), amount, charge_time
