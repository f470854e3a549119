"""What a platform does with a customer's payment methods, and what it is refused."""

from datetime import timedelta
from typing import Any

import pytest
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from tests.contract.customer import NOTICE_LEAD, Customer, new_customer
from tests.contract.every_call import Call, platform_calls
from tests.suite import Suite, new_id, refused

Method = payments_pb2.PaymentMethod
LOST = "pm_card_chargeDeclinedLostCard"


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    return await new_customer(suite)


def calls_of(ann: Customer) -> dict[str, Call]:
    return {call.method: call for call in platform_calls(ann.shop.merchant)}


async def twice(ann: Customer, call: Call, **changes: Any) -> Any:  # noqa: ANN401
    """What the call answers, and is answered again when it is sent again."""
    request_id = new_id()
    made = await call.make(ann.shop, request_id=request_id, **changes)
    assert await call.make(ann.shop, request_id=request_id, **changes) == made
    return made


async def why(ann: Customer, call: Call, **changes: Any) -> str:  # noqa: ANN401
    return (await refused(call.make(ann.shop, request_id=new_id(), **changes))).reason


async def test_a_card_gets_its_place_and_is_replaced(ann: Customer) -> None:
    calls = calls_of(ann)
    await calls["CreatePaymentMethod"].make(
        ann.shop, payment_method_id="spare", request_id=new_id()
    )
    spare = f"{ann.name}/paymentMethods/spare"
    assert (await twice(ann, calls["UpdatePaymentMethod"])).fallback_order == 1
    assert (await twice(ann, calls["SetDefaultPaymentMethod"], name=spare)).default_method
    assert not (await calls["GetPaymentMethod"].make(ann.shop)).default_method

    replacing = calls["ReplacePaymentMethod"]
    replacing.request.payment_method.provider_token = "pm_nobody_knows"
    assert await why(ann, replacing) == "PROVIDER_TOKEN_UNKNOWN"
    replacing.request.payment_method.provider_token = "pm_card_mastercard"
    assert await why(ann, replacing, payment_method_id="spare") == "PAYMENT_METHOD_ALREADY_EXISTS"
    assert (await twice(ann, replacing)).fallback_order == 1
    mandate = await calls["GetMandate"].make(ann.shop)
    assert mandate.payment_method == f"{ann.name}/paymentMethods/next"


async def test_the_only_card_of_a_mandate_is_detached_by_force(ann: Customer) -> None:
    detach = calls_of(ann)["DetachPaymentMethod"]
    refusal = await refused(detach.make(ann.shop, request_id=new_id()))
    assert refusal.reason == "PAYMENT_METHOD_IN_USE"
    assert (await twice(ann, detach, force=True)).state == Method.DETACHED


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("UpdatePaymentMethod", {}),
        ("SetDefaultPaymentMethod", {}),
        ("ReplacePaymentMethod", {}),
        ("CreateMandate", {"mandate_id": "m2"}),
    ],
)
async def test_a_detached_card_is_of_no_use(
    ann: Customer, method: str, changes: dict[str, str]
) -> None:
    calls = calls_of(ann)
    await calls["DetachPaymentMethod"].make(ann.shop, force=True, request_id=new_id())
    assert await why(ann, calls[method], **changes) == "PAYMENT_METHOD_DETACHED"


async def test_no_request_is_confirmed_with_a_detached_or_a_dead_card(ann: Customer) -> None:
    calls = calls_of(ann)
    request = await ann.ask(billing_mode=scheduler_pb2.PAY_ON_NOTICE, mandate="")
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await ann.suite.advance(NOTICE_LEAD + timedelta(days=3))
    calls["CreatePaymentMethod"].request.payment_method.provider_token = LOST
    await calls["CreatePaymentMethod"].make(ann.shop, payment_method_id="lost", request_id=new_id())
    lost = f"{ann.name}/paymentMethods/lost"
    confirm = calls["ConfirmPaymentRequest"]
    await confirm.make(ann.shop, payment_method=lost, request_id=new_id())
    await ann.suite.sandbox.settle()
    assert await why(ann, confirm, payment_method=lost) == "PAYMENT_METHOD_BLOCKED"
    assert await why(ann, calls["SetDefaultPaymentMethod"], name=lost) == "PAYMENT_METHOD_BLOCKED"
    await calls["DetachPaymentMethod"].make(ann.shop, force=True, request_id=new_id())
    assert await why(ann, confirm) == "PAYMENT_METHOD_DETACHED"
    await calls["CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_the_phone_is_told_once_of_a_card_that_expires(ann: Customer) -> None:
    calls = calls_of(ann)
    soon = await ann.suite.sandbox.now() + timedelta(days=1)
    replacing = calls["ReplacePaymentMethod"]
    replacing.request.payment_method.provider_token = f"pm_sandbox_expires{soon:%Y%m}"
    await replacing.make(ann.shop, request_id=new_id())
    await ann.suite.sandbox.settle()
    await ann.suite.advance(timedelta(days=40))
    notices = (await calls["ListNotices"].make(ann.shop)).notices
    about = f"{ann.name}/paymentMethods/next"
    [told] = [notice for notice in notices if notice.kind == notify_pb2.PAYMENT_METHOD_EXPIRING]
    assert told.subject_resource == about
    assert (await calls["GetPaymentMethod"].make(ann.shop, name=about)).state == Method.EXPIRED


async def test_the_provider_of_a_kind_is_the_merchants_choice_and_methods_keep_theirs(
    ann: Customer,
) -> None:
    calls = calls_of(ann)
    create = calls["CreatePaymentMethod"]
    create.request.payment_method.provider_token = "MD_sandbox_sepa"
    create.request.payment_method.kind = Method.BANK_DEBIT
    before = await create.make(ann.shop, payment_method_id="account", request_id=new_id())
    assert before.provider == "bank-debit"

    assert (await calls["GetPaymentRouting"].make(ann.shop)).bank_debit_provider == ""
    choose = calls["UpdatePaymentRouting"]
    made = await twice(ann, choose)
    assert await calls["GetPaymentRouting"].make(ann.shop) == made
    create.request.payment_method.provider_token = "pm_sandbox_sepaDebit"
    after = await create.make(ann.shop, payment_method_id="other-account", request_id=new_id())
    assert (made.bank_debit_provider, after.provider) == ("stripe", "stripe")
    kept = await calls["GetPaymentMethod"].make(ann.shop, name=before.name)
    assert kept.provider == "bank-debit"

    choose.request.payment_routing.card_provider = "bank-debit"
    refusal = await refused(choose.make(ann.shop, request_id=new_id()))
    assert refusal.fields == {"payment_routing.card_provider": "FIELD_INVALID"}


async def test_the_policy_on_declines_is_got_and_set(ann: Customer) -> None:
    calls = calls_of(ann)
    before = await calls["GetDunningPolicy"].make(ann.shop)
    assert list(before.retry_days) == [1, 3, 5]
    made = await twice(ann, calls["UpdateDunningPolicy"])
    assert list(made.retry_days) == [8, 8, 8]
    assert await calls["GetDunningPolicy"].make(ann.shop) == made


async def test_an_account_is_debited_by_the_provider_of_bank_debits(ann: Customer) -> None:
    creating = calls_of(ann)["CreatePaymentMethod"]
    creating.request.payment_method.provider_token = "MD_sandbox_sepa"
    creating.request.payment_method.kind = Method.BANK_DEBIT
    made = await twice(ann, creating, payment_method_id="account")
    assert (made.provider, made.brand) == ("bank-debit", "sepa_core")
    consenting = calls_of(ann)["CreateMandate"]
    consenting.request.mandate.payment_method = made.name
    consenting.request.mandate.charge_ceiling.currency_code = "USD"
    assert await why(ann, consenting, mandate_id="dollars") == "CURRENCY_NOT_CHARGEABLE"
    creating.request.payment_method.provider = "nobody"
    problem = await refused(creating.make(ann.shop, payment_method_id="other", request_id=new_id()))
    assert [*problem.fields] == ["payment_method.provider"]
