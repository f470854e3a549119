"""RPCs about charges: what became of them, the customer's yes, and money given back."""

from collections.abc import Sequence

from recurring.payments.v1 import payments_pb2

from services.payments.api.consent import existing_payment_method
from services.payments.api.requests import (
    ANY_CUSTOMER,
    read_charge,
    read_customer,
    read_payment_method_of,
    read_refund,
)
from services.payments.api.responses import charge_message, refund_message
from services.payments.domain.charges import Charge, ChargeState, confirm
from services.payments.domain.keys import ChargeKey, PaymentMethodKey, RefundKey, derived_key
from services.payments.domain.provider_amounts import step_minor
from services.payments.domain.refunds import Refund, RefundState
from services.payments.store import attempts as attempt_store
from services.payments.store import charges as charge_store
from services.payments.store import refunds as refund_store
from services.payments.store.encrypted import note_aad
from services.runtime.crypto.encryption import encrypt
from services.runtime.db import audit
from services.runtime.db.idempotency import mutation
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Violations, already_exists, not_found, wrong_state
from services.runtime.money import Money, format_minor
from services.runtime.observability import tracing
from services.runtime.rpc.conversions import read_money
from services.runtime.rpc.paging import read_page
from services.runtime.workers.clock import Clock

_CUSTOMER_OF_CHARGE = "/charges/"


class ChargeMethods:
    """Charges, payment requests and refunds."""

    database: Database
    _clock: Clock

    # --- charges --------------------------------------------------------------------------------

    async def GetCharge(
        self, request: payments_pb2.GetChargeRequest, _context: object
    ) -> payments_pb2.Charge:
        """Get a charge with its attempts."""
        key = read_charge(request.name)
        async with self.database.read() as connection:
            charge = await _existing(connection, key)
            [message] = await _messages(connection, [charge])
        return message

    async def ListCharges(
        self, request: payments_pb2.ListChargesRequest, _context: object
    ) -> payments_pb2.ListChargesResponse:
        """List the charges of a customer, or of all, by id."""
        state = payments_pb2.Charge.State.Name(request.state) if request.state else ""
        owner = read_customer(request.parent)
        page = read_page(request, keys=2)
        charge, customer = page.after or ("", "")
        async with self.database.read() as connection:
            if owner.customer == ANY_CUSTOMER:
                found = await charge_store.of_merchant(
                    connection, owner.merchant, state, (charge, customer), page.limit
                )
            else:
                found = await charge_store.of_customer(connection, owner, state, charge, page.limit)
            messages = await _messages(connection, found)
        shown, token = page.cut(
            list(zip(found, messages, strict=True)),
            lambda pair: pair[1],
            lambda pair: (pair[0].key.charge, pair[0].key.owner.customer),
        )
        return payments_pb2.ListChargesResponse(charges=shown, next_page_token=token)

    @mutation(payments_pb2.Charge)
    async def ConfirmPaymentRequest(
        self, request: payments_pb2.ConfirmPaymentRequestRequest, tx: Connection
    ) -> payments_pb2.Charge:
        """Take the customer's yes; the charge is made by the loop that makes all charges."""
        key = read_charge(request.name)
        violations = Violations()
        owner_name = request.name.partition(_CUSTOMER_OF_CHARGE)[0]
        method = read_payment_method_of(
            violations, "payment_method", request.payment_method, owner_name
        )
        violations.check()
        charge = await _existing(tx, key, lock=True)
        found = await existing_payment_method(tx, PaymentMethodKey(key.owner, method))
        if found.block_time is not None:
            raise wrong_state(
                "PAYMENT_METHOD_BLOCKED", "it was declined for good; confirm with another"
            )
        confirmed = confirm(charge, method, self._clock.now())
        if confirmed is None:
            raise wrong_state(
                "PAYMENT_REQUEST_STATE",
                "the request is paid, expired or withdrawn, or is being charged now",
            )
        [present] = await _messages(tx, [charge])
        audit.before(present)
        await charge_store.save(tx, [confirmed])
        [message] = await _messages(tx, [confirmed])
        return message

    # --- refunds --------------------------------------------------------------------------------

    @mutation(payments_pb2.Refund)
    async def CreateRefund(
        self, request: payments_pb2.CreateRefundRequest, tx: Connection
    ) -> payments_pb2.Refund:
        """Promise to give money back; the charge stays locked, so its refunds are counted in turn."""
        key = RefundKey(read_charge(request.parent), request.refund_id)
        wanted: Money | None = None
        if request.refund.HasField("amount"):
            violations = Violations()
            wanted = read_money(violations, "refund.amount", request.refund.amount)
            violations.check()
        charge = await _existing(tx, key.charge, lock=True)
        now = self._clock.now()
        refund = Refund(
            key=key,
            amount_minor=await _refundable_minor(tx, charge, wanted),
            currency=charge.currency,
            note=encrypt(tx, request.refund.note, *note_aad(key)),
            state=RefundState.PENDING,
            idempotency_key=derived_key(key.name),
            create_time=now,
            update_time=now,
            traceparent=tracing.current_traceparent(),
        )
        if not await refund_store.insert(tx, refund):
            raise already_exists("REFUND_ALREADY_EXISTS", key.name)
        return refund_message(refund, self.database.keyring)

    async def GetRefund(
        self, request: payments_pb2.GetRefundRequest, _context: object
    ) -> payments_pb2.Refund:
        """Get a refund."""
        key = read_refund(request.name)
        async with self.database.read() as connection:
            refund = await refund_store.refund(connection, key)
        if refund is None:
            raise not_found("REFUND_NOT_FOUND", key.name)
        return refund_message(refund, self.database.keyring)

    async def ListRefunds(
        self, request: payments_pb2.ListRefundsRequest, _context: object
    ) -> payments_pb2.ListRefundsResponse:
        """List the refunds of a charge by id."""
        key = read_charge(request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self.database.read() as connection:
            await _existing(connection, key)
            found = await refund_store.of_charge(connection, key, after, page.limit)
        shown, token = page.cut(
            found,
            lambda refund: refund_message(refund, self.database.keyring),
            lambda refund: (refund.key.refund,),
        )
        return payments_pb2.ListRefundsResponse(refunds=shown, next_page_token=token)


async def _existing(connection: Connection, key: ChargeKey, *, lock: bool = False) -> Charge:
    find = charge_store.locked if lock else charge_store.by_key
    found = (await find(connection, [key])).get(key)
    if found is None:
        raise not_found("CHARGE_NOT_FOUND", key.name)
    return found


async def _messages(connection: Connection, charges: Sequence[Charge]) -> list[payments_pb2.Charge]:
    """Charges with their attempts and what was given back of them, in two statements for all."""
    keys = [charge.key for charge in charges]
    attempts = await attempt_store.of_charges(connection, keys)
    refunded = await refund_store.refunded_minor(connection, keys)
    return [
        charge_message(charge, attempts.get(charge.key, ()), refunded.get(charge.key, 0))
        for charge in charges
    ]


async def _refundable_minor(tx: Connection, charge: Charge, wanted: Money | None) -> int:
    """What a new refund of a charge gives back, in minor units; raises why it can't."""
    if charge.state is not ChargeState.SUCCEEDED:
        raise wrong_state("CHARGE_STATE", "the charge has not succeeded")
    left_minor = charge.amount_minor - await refund_store.promised_minor(tx, charge.key)
    if wanted is not None and wanted.currency != charge.currency:
        raise wrong_state("CURRENCY_MISMATCH", f"the charge's currency is {charge.currency}")
    amount_minor = left_minor if wanted is None else wanted.amount_minor
    if not 0 < amount_minor <= left_minor:
        raise wrong_state("REFUND_ABOVE_CHARGE", "no more can be given back than is left")
    step = step_minor(charge.currency)
    violations = Violations()
    violations.require(
        "refund.amount",
        f"must be a multiple of {format_minor(step, charge.currency)}, which the provider counts in",
        met=amount_minor % step == 0,
    )
    violations.check()
    return amount_minor
