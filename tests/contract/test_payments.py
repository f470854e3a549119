"""Consent, money and the books, from the first card to the last refund, as a platform sees them."""

import re
from datetime import timedelta

import aiohttp
import pytest
from google.protobuf import duration_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import (
    NANOS_PER_UNIT,
    from_timestamp,
    to_date,
    to_money,
    to_timestamp,
)
from tests.contract.customer import (
    NOTICE_LEAD,
    TEA_CENTS,
    Customer,
    add_contact,
    add_mandate,
    add_product,
    new_customer,
)
from tests.contract.every_call import FAR, Call, platform_calls, suite_calls
from tests.suite import Suite, new_id, refused

DUE = NOTICE_LEAD + timedelta(days=3)
WITHIN_A_DAY = timedelta(hours=8)
# The provider's balance is read at intervals, which the suite of these tests does not do.
WITHOUT_BALANCE = {"payments.ListPayouts", "payments.ListReconciliationFindings"}
# Documents are issued by a worker. They, templates of notices, webhooks and reports are paged by tests
# of theirs.
ELSEWHERE = {
    *WITHOUT_BALANCE,
    "notify.ListNoticeTemplates",
    "notify.ListWebhookEndpoints",
    "notify.ListWebhookDeliveries",
    # No list, though it works page by page: tests/integration/notify/test_redrives.py.
    "notify.RedriveNotices",
    "payments.ListDocuments",
    "payments.ListProductSales",
    "payments.ListTaxSummaries",
    "payments.ListReceivables",
    "payments.ListDunningOutcomes",
}


def calls_of(ann: Customer) -> dict[str, Call]:
    calls = [*platform_calls(ann.shop.merchant), *suite_calls(ann.shop.merchant)]
    return {call.id: call for call in calls}


async def test_an_order_is_paid_given_back_and_booked(suite: Suite) -> None:
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    calls = calls_of(ann)
    assert (await refused(calls["payments.CreateRefund"].make(ann.shop))).reason == (
        "CHARGE_NOT_FOUND"
    )
    await suite.advance(DUE)
    charge = await calls["payments.GetCharge"].make(ann.shop)
    assert charge.state == payments_pb2.Charge.SUCCEEDED
    assert charge.amount == to_money(2 * TEA_CENTS, "EUR")
    listed = await calls["payments.ListCharges"].make(ann.shop)
    assert [charge.name for charge in listed.charges] == [charge.name]
    explained = await calls["payments.ExplainCharge"].make(ann.shop)
    [verdict] = explained.verdicts
    assert (explained.charge, verdict.notice) == (charge, charge.notice)
    assert (verdict.amount, list(verdict.causes)) == (charge.amount, [])

    refund = calls["payments.CreateRefund"]
    refund.request.refund.amount.CopyFrom(to_money(100, "EUR"))
    refund.request.request_id = new_id()
    made = await refund.make(ann.shop)
    assert await refund.make(ann.shop) == made
    assert (await refused(refund.make(ann.shop, request_id=new_id()))).reason == (
        "REFUND_ALREADY_EXISTS"
    )
    await suite.sandbox.settle()
    got = await calls["payments.GetRefund"].make(ann.shop)
    assert got.state == payments_pb2.Refund.SUCCEEDED
    refunds = await calls["payments.ListRefunds"].make(ann.shop)
    assert [refund.name for refund in refunds.refunds] == [got.name]

    accounts = await calls["payments.ListLedgerAccounts"].make(ann.shop)
    balances = [ledger_account.balance for ledger_account in accounts.ledger_accounts]
    assert sum(balance.units * NANOS_PER_UNIT + balance.nanos for balance in balances) == 0
    entries = await calls["payments.ListLedgerEntries"].make(ann.shop)
    assert {ledger_entry.source for ledger_entry in entries.ledger_entries} == {
        charge.name,
        got.name,
    }
    cancel = calls["scheduler.CancelStandingOrder"]
    await cancel.make(ann.shop, request_id=new_id())


async def test_a_refund_that_the_bank_sends_back_has_failed(suite: Suite) -> None:
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE)
    calls = calls_of(ann)
    refund = calls["payments.CreateRefund"]
    refund.request.refund.amount.CopyFrom(to_money(100, "EUR"))
    await suite.sandbox.put("/provider/behavior", {"refunds_fail_after_seconds": 3600})
    try:
        await refund.make(ann.shop, request_id=new_id())
        await suite.sandbox.settle()
    finally:
        await suite.sandbox.put("/provider/behavior", {"refunds_fail_after_seconds": None})
    await suite.advance(timedelta(days=2))
    refund_now = await calls["payments.GetRefund"].make(ann.shop)
    assert refund_now.state == payments_pb2.Refund.FAILED
    assert refund_now.failure_code


async def test_a_customer_pays_on_notice_with_a_card_of_their_own(suite: Suite) -> None:
    ann = await new_customer(suite)
    request = await ann.ask(billing_mode=scheduler_pb2.PAY_ON_NOTICE, mandate="")
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE)
    calls = calls_of(ann)
    charge = await calls["payments.GetCharge"].make(ann.shop)
    assert charge.state == payments_pb2.Charge.REQUESTED
    early = await refused(calls["payments.CreateRefund"].make(ann.shop))
    assert early.reason == "CHARGE_STATE"
    confirm = calls["payments.ConfirmPaymentRequest"]
    wrong = f"{ann.name}/paymentMethods/other"
    unknown = await refused(confirm.make(ann.shop, payment_method=wrong, request_id=new_id()))
    assert unknown.reason == "PAYMENT_METHOD_NOT_FOUND"
    wrong_amounts = {
        "PARTIAL_PAYMENT": to_money(1, "EUR"),
        "OVER_PAYMENT": to_money(2 * TEA_CENTS + 1, "EUR"),
        "CURRENCY_MISMATCH": to_money(2 * TEA_CENTS, "USD"),
    }
    for reason, amount in wrong_amounts.items():
        confirm.request.amount.CopyFrom(amount)
        differs = await refused(confirm.make(ann.shop, request_id=new_id()))
        assert differs.reason == reason
    confirm.request.amount.CopyFrom(charge.amount)
    await confirm.make(ann.shop, request_id=new_id())
    await suite.sandbox.settle()
    order = await calls["scheduler.GetOrder"].make(ann.shop)
    assert order.state == scheduler_pb2.Order.PAID
    explained = await calls["scheduler.ExplainOrder"].make(ann.shop)
    assert "PAID" in {decision.kind for decision in explained.decisions}
    await calls["scheduler.CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_consent_that_comes_later_makes_a_mandate_active(suite: Suite) -> None:
    ann = await new_customer(suite)
    calls = calls_of(ann)
    create, confirm = calls["payments.CreateMandate"], calls["payments.ConfirmMandate"]
    create.request.mandate.ClearField("evidence")
    create.request.mandate.await_confirmation = True
    made = await create.make(ann.shop, mandate_id="later", request_id=new_id())
    assert made.state == payments_pb2.Mandate.PENDING
    confirmed = await confirm.make(ann.shop, name=made.name, request_id=new_id())
    assert confirmed.state == payments_pb2.Mandate.ACTIVE
    assert confirmed.evidence.text == confirm.request.evidence.text


async def test_a_policy_is_tried_on_declines_before_it_is_set(suite: Suite) -> None:
    ann = await new_customer(suite)
    simulated = await calls_of(ann)["payments.SimulateDunningPolicy"].make(ann.shop)
    assert (simulated.declined.charge_count, simulated.recovered.charge_count) == (0, 0)


async def _tried_charge(ann: Customer) -> payments_pb2.Charge:
    """Her first charge, soon after it was tried: a bank waits for its customer for a day."""
    listing = calls_of(ann)["payments.ListCharges"]
    for _ in range(DUE // WITHIN_A_DAY):
        await ann.suite.advance(WITHIN_A_DAY)
        charges: list[payments_pb2.Charge] = (await listing.make(ann.shop)).charges
        for charge in charges:
            if charge.attempts:
                return charge
    raise AssertionError("no charge was tried")


async def test_a_customer_confirms_with_their_bank_by_the_link_on_their_phone(
    suite: Suite,
) -> None:
    ann = await new_customer(suite)
    calls = calls_of(ann)
    card = calls["payments.ReplacePaymentMethod"]
    card.request.payment_method.provider_token = "pm_card_authenticationRequired"
    await card.make(ann.shop, name=ann.card, request_id=new_id())
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    charge = await _tried_charge(ann)
    [uri] = [attempt.action_uri for attempt in charge.attempts]
    assert uri in str((await suite.sandbox.inbox(ann.phone))[-1]["body"])

    async with (
        aiohttp.ClientSession() as browser,
        browser.post(uri, data={"succeeds": "yes"}) as page,
    ):
        assert page.status == 200
    await suite.sandbox.settle()
    paid = await calls["payments.GetCharge"].make(ann.shop)
    assert paid.state == payments_pb2.Charge.SUCCEEDED
    await calls["scheduler.CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_a_customer_pays_by_the_link_on_their_phone(suite: Suite) -> None:
    ann = await new_customer(suite)
    calls = calls_of(ann)
    policy = calls["payments.UpdateDunningPolicy"]
    policy.request.dunning_policy.payment_page_uri = "https://pay.test/shop"
    policy.request.dunning_policy.reminder_hours[:] = [71]
    await policy.make(ann.shop, request_id=new_id())
    request = await ann.ask(billing_mode=scheduler_pb2.PAY_ON_NOTICE, mandate="")
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE + timedelta(hours=2))
    texts = [str(message["body"]) for message in await suite.sandbox.inbox(ann.phone)]
    found = [re.search("https://pay.test/shop/([a-z2-9]{20})", text) for text in texts]
    # The request, and the reminder.
    token, reminded = (match[1] for match in found if match)
    assert token != reminded

    # The scope of a page: it opens nothing but what a link is for.
    page = suite.client(ann.shop.merchant, scope="payments:pay")
    assert (await refused(calls["payments.GetCharge"].make(page))).reason == "SCOPE_MISSING"
    resolve, pay = calls["payments.ResolvePaymentLink"], calls["payments.PayByLink"]
    assert (await refused(resolve.make(page))).reason == "PAYMENT_LINK_NOT_FOUND"
    assert (await refused(pay.make(page, request_id=new_id()))).reason == "PAYMENT_LINK_NOT_FOUND"
    linked = await resolve.make(page, link_token=token)
    assert [method.name for method in linked.payment_methods] == [ann.card]

    async def refusal(link_token: str = token, **changes: str) -> str:
        call = pay.make(page, link_token=link_token, request_id=new_id(), **changes)
        return (await refused(call)).reason

    for reason, amount in {
        "PARTIAL_PAYMENT": to_money(1, "EUR"),
        "OVER_PAYMENT": to_money(2 * TEA_CENTS + 1, "EUR"),
        "CURRENCY_MISMATCH": to_money(2 * TEA_CENTS, "USD"),
    }.items():
        pay.request.amount.CopyFrom(amount)
        assert await refusal() == reason
    pay.request.amount.CopyFrom(linked.amount)
    unknown = f"{ann.name}/paymentMethods/other"
    assert await refusal(payment_method=unknown) == "PAYMENT_METHOD_NOT_FOUND"
    detached = await calls["payments.CreatePaymentMethod"].make(
        ann.shop, payment_method_id="detached", request_id=new_id()
    )
    detach = calls["payments.DetachPaymentMethod"]
    await detach.make(ann.shop, name=detached.name, request_id=new_id())
    assert await refusal(payment_method=detached.name) == "PAYMENT_METHOD_DETACHED"
    lost = calls["payments.CreatePaymentMethod"]
    lost.request.payment_method.provider_token = "pm_card_chargeDeclinedLostCard"
    lost_card = await lost.make(ann.shop, payment_method_id="lost", request_id=new_id())
    await pay.make(page, link_token=token, payment_method=lost_card.name, request_id=new_id())
    await suite.sandbox.settle()
    assert await refusal() == "PAYMENT_LINK_USED"
    assert await refusal(reminded, payment_method=lost_card.name) == "PAYMENT_METHOD_BLOCKED"
    paying = {"link_token": reminded, "request_id": new_id()}
    assert await pay.make(page, **paying) == await pay.make(page, **paying)
    await suite.sandbox.settle()
    order = await calls["scheduler.GetOrder"].make(ann.shop)
    assert order.state == scheduler_pb2.Order.PAID
    last = str((await suite.sandbox.inbox(ann.phone))[-2]["body"])
    declined = re.search(
        "https://pay.test/shop/([a-z2-9]{20})",
        " ".join(
            str(message["body"])
            for message in await suite.sandbox.inbox(ann.phone)
            if "declined" in str(message["body"])
        ),
    )
    assert declined, last
    assert await refusal(declined[1]) == "PAYMENT_REQUEST_STATE"
    await calls["scheduler.CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_a_request_to_pay_that_nobody_confirms_expires(suite: Suite) -> None:
    ann = await new_customer(suite)
    request = await ann.ask(billing_mode=scheduler_pb2.PAY_ON_NOTICE, mandate="")
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE + timedelta(days=4))
    calls = calls_of(ann)
    order = await calls["scheduler.GetOrder"].make(ann.shop)
    assert order.state == scheduler_pb2.Order.LAPSED
    late = await refused(calls["payments.ConfirmPaymentRequest"].make(ann.shop))
    assert late.reason == "PAYMENT_REQUEST_STATE"
    await calls["scheduler.CancelStandingOrder"].make(ann.shop, request_id=new_id())


async def test_every_list_is_read_to_its_end_page_by_page(suite: Suite) -> None:
    ann = await new_customer(suite)
    await add_product(ann.shop, "coffee", TEA_CENTS)
    await add_contact(ann, "bob")
    calls = calls_of(ann)
    await calls["payments.CreatePaymentMethod"].make(
        ann.shop, payment_method_id="second", request_id=new_id()
    )
    await calls["payments.CreateMandate"].make(ann.shop, mandate_id="m2", request_id=new_id())
    later = calls["catalog.CreatePrice"]
    later.request.price.effective_time.CopyFrom(to_timestamp(FAR))
    await later.make(ann.shop, price_id="later")
    counted = calls["catalog.CreateProduct"]
    counted.request.product.stock_tracked = True
    await counted.make(ann.shop, product_id="counted", request_id=new_id())
    for method in ("CreateDelivery", "ListDeliveries"):
        calls[f"catalog.{method}"].request.parent = f"{ann.shop.name}/products/counted"
    for number in range(2):
        rate = calls["catalog.CreateTaxRate"]
        rate.request.tax_rate.tax = f"tax-{number}"
        await rate.make(ann.shop, tax_rate_id=f"r{number}", request_id=new_id())
        for method, resource in (
            ("CreateDelivery", "delivery"),
            ("CreatePromotion", "promotion"),
            ("CreatePriceProtectionOffer", "price_protection_offer"),
        ):
            given = {f"{resource}_id": f"r{number}", "request_id": new_id()}
            await calls[f"catalog.{method}"].make(ann.shop, **given)
    for name in ("weekly", "other"):
        request = await ann.ask()
        request.standing_order_id, request.allow_duplicate = name, True
        request.standing_order.price_protection.cap.increase_limit_bps = 500
        await ann.shop.scheduler.CreateStandingOrder(request)
    await suite.advance(DUE)
    for number in range(2):
        refund = calls["payments.CreateRefund"]
        refund.request.refund.amount.CopyFrom(to_money(100, "EUR"))
        await refund.make(ann.shop, refund_id=f"r{number}", request_id=new_id())
        gift = {"credit_transaction_id": f"g{number}", "request_id": new_id()}
        await calls["payments.CreateCreditTransaction"].make(ann.shop, **gift)
    # The ledger of these tests is closed through 1970 from the beginning.
    closing = calls["payments.CloseLedgerPeriod"]
    for day in (30, 31):
        closing.request.through_date.day = day
        closed = await closing.make(ann.shop, request_id=new_id())
        assert closed.name.endswith(f"/1969-12-{day}")
    closing.request.through_date.year = 2999
    early = await refused(closing.make(ann.shop, request_id=new_id()))
    assert early.reason == "LEDGER_DAYS_OPEN"
    await dispute_all(ann)
    # Of the day of the charges, which no balance of the provider's has been read for.
    charge = await calls["payments.GetCharge"].make(ann.shop)
    paid_on = from_timestamp(charge.attempts[0].end_time).date()
    calls["payments.PreviewReconciliation"].request.date.CopyFrom(to_date(paid_on))

    for call in calls.values():
        if call.takes("page_token") and call.id not in ELSEWHERE:
            whole = await read_pages(ann, call, 1000)
            assert len(whole) >= 2, call.id
            assert await read_pages(ann, call, 1) == whole, call.id
    for name in ("weekly", "other"):
        cancel = scheduler_pb2.CancelStandingOrderRequest(
            name=f"{ann.shop.name}/standingOrders/{name}", request_id=new_id()
        )
        await ann.shop.scheduler.CancelStandingOrder(cancel)


async def dispute_all(ann: Customer) -> None:
    """Ann's bank inquires about all that she has paid."""
    request = payments_pb2.ListChargesRequest(parent=ann.name, state=payments_pb2.Charge.SUCCEEDED)
    for charge in (await ann.shop.payments.ListCharges(request)).charges:
        payment = charge.attempts[-1].provider_payment
        asked = {"payment_intent": payment, "inquiry": True}
        await ann.suite.sandbox.post("/provider/disputes", asked)
    await ann.suite.sandbox.settle()


async def read_pages(ann: Customer, call: Call, size: int) -> list[str]:
    """Every resource of a list, read in pages of a size, as texts."""
    resources: list[str] = []
    token = ""
    while True:
        page = await call.make(ann.shop, page_size=size, page_token=token)
        [field] = [field for field in page.DESCRIPTOR.fields if field.is_repeated]
        assert len(getattr(page, field.name)) <= size
        resources += [str(resource) for resource in getattr(page, field.name)]
        token = page.next_page_token
        if not token:
            return resources


async def test_cards_and_consents_are_got_and_listed(suite: Suite) -> None:
    ann = await new_customer(suite)
    calls = calls_of(ann)
    card = await calls["payments.GetPaymentMethod"].make(ann.shop)
    assert (card.brand, card.provider_token) == ("visa", "")
    cards = await calls["payments.ListPaymentMethods"].make(ann.shop)
    assert [payment_method.name for payment_method in cards.payment_methods] == [card.name]
    mandate = await calls["payments.GetMandate"].make(ann.shop)
    mandates = await calls["payments.ListMandates"].make(ann.shop)
    assert [mandate.name for mandate in mandates.mandates] == [mandate.name]


async def test_services_ask_whether_a_customer_can_be_charged_and_notified(suite: Suite) -> None:
    ann = await new_customer(suite)
    calls, scheduler = calls_of(ann), suite.suite_client()
    covered = await calls["payments.BatchCheckMandates"].make(scheduler)
    # The one of every call is asked about a time so far ahead that it is still valid then.
    assert [list(result.reasons) for result in covered.results] == [[]]
    bound = await calls["notify.BatchCheckContacts"].make(scheduler)
    assert [result.phone_bound for result in bound.results] == [True]
    stock = await calls["catalog.BatchCheckStock"].make(scheduler)
    assert [list(result.problems) for result in stock.results] == [[]]


async def test_a_contact_is_got_and_a_notice_previewed(suite: Suite) -> None:
    ann = await new_customer(suite)
    calls = calls_of(ann)
    contact = await calls["notify.GetContact"].make(ann.shop)
    assert contact.masked_phone.startswith("+49")
    assert ann.phone not in str(contact)
    preview = await calls["notify.PreviewNotice"].make(ann.shop)
    assert preview.sms_text
    notices = await calls["notify.ListNotices"].make(ann.shop)
    [code] = notices.notices
    assert code.kind == notify_pb2.PHONE_CODE
    got = await ann.shop.notify.GetNotice(notify_pb2.GetNoticeRequest(name=code.name))
    assert got == code


@pytest.mark.parametrize(
    ("phone", "reason"),
    [("+1234567", "PHONE_NOT_VALID"), ("+493012345678", "PHONE_NOT_MOBILE")],
)
async def test_no_code_goes_where_no_mobile_phone_is(suite: Suite, phone: str, reason: str) -> None:
    ann = await new_customer(suite)
    name = f"{ann.name}/contact"
    start = notify_pb2.StartPhoneBindingRequest(name=name, phone=phone, request_id=new_id())
    refusal = await refused(ann.shop.notify.StartPhoneBinding(start))
    assert refusal.fields == {"phone": reason}


async def test_a_code_is_wrong_expires_and_is_not_sent_for_ever(suite: Suite) -> None:
    ann = await new_customer(suite)
    bob = await add_contact(ann, "bob")
    start = notify_pb2.StartPhoneBindingRequest(name=bob.name, phone=ann.phone, request_id=new_id())
    await ann.shop.notify.StartPhoneBinding(start)
    right = await ann.code()
    guess = notify_pb2.ConfirmPhoneBindingRequest(
        name=bob.name, code=f"{(int(right) + 1) % 10**8:08}", request_id=new_id()
    )
    assert (await refused(ann.shop.notify.ConfirmPhoneBinding(guess))).reason == "CODE_WRONG"
    await suite.advance(timedelta(minutes=6))
    assert (await refused(ann.shop.notify.ConfirmPhoneBinding(guess))).reason == "CODE_EXPIRED"
    # Ann's own code went to the number, too.
    for _ in range(3):
        start.request_id = new_id()
        await ann.shop.notify.StartPhoneBinding(start)
    start.request_id = new_id()
    refusal = await refused(ann.shop.notify.StartPhoneBinding(start))
    assert refusal.reason == "CODES_TOO_MANY"
    # Five codes were sent within an hour, the first of them a good five minutes ago.
    assert 0 < refusal.retry_seconds < 55 * 60


async def test_what_widens_a_mandate_needs_a_new_consent(suite: Suite) -> None:
    ann = await new_customer(suite)
    call = calls_of(ann)["payments.AmendMandate"]
    ceilings = {"charge_ceiling": "charge_ceiling", "period_ceiling": "period_ceiling.amount"}
    call.request.terms.charge_ceiling.CopyFrom(to_money(49, "EUR"))
    call.request.terms.period_ceiling.amount.CopyFrom(to_money(49, "EUR"))
    call.request.update_mask.paths[:] = list(ceilings)
    refusal = await refused(call.make(ann.shop, request_id=new_id()))
    assert refusal.fields == {f"terms.{it}": "AMOUNT_NOT_CHARGEABLE" for it in ceilings.values()}
    call.request.update_mask.paths[:] = ["charge_ceiling"]
    call.request.terms.charge_ceiling.CopyFrom(to_money(200_000, "USD"))
    refusal = await refused(call.make(ann.shop, request_id=new_id()))
    assert refusal.reason == "CURRENCY_MISMATCH"
    call.request.terms.charge_ceiling.CopyFrom(to_money(200_000, "EUR"))
    amended = await call.make(ann.shop, request_id=new_id())
    assert amended.charge_ceiling == to_money(200_000, "EUR")
    call.request.ClearField("evidence")
    call.request.terms.charge_ceiling.CopyFrom(to_money(300_000, "EUR"))
    refusal = await refused(call.make(ann.shop, request_id=new_id()))
    assert refusal.reason == "CONSENT_REQUIRED"
    call.request.terms.charge_ceiling.CopyFrom(to_money(100, "EUR"))
    await call.make(ann.shop, request_id=new_id())
    found = await calls_of(ann)["payments.GetMandate"].make(ann.shop)
    narrowed, widened = found.amendments
    assert (narrowed.HasField("evidence"), widened.evidence.text) == (False, "Yes.")
    assert narrowed.former_terms.charge_ceiling == to_money(200_000, "EUR")


async def test_notices_come_as_early_as_the_mandate_promises(suite: Suite) -> None:
    ann = await new_customer(suite)
    lead = duration_pb2.Duration(seconds=10 * 24 * 60 * 60)
    mandate = await add_mandate(ann, "early", lead=lead)
    made = await ann.subscribe(mandate=mandate.name)
    assert made.effective_notice_lead == lead


async def test_a_mandate_is_no_longer_valid_after_its_end(suite: Suite) -> None:
    ann = await new_customer(suite)
    now = await suite.sandbox.now()
    call = calls_of(ann)["payments.CreateMandate"]
    call.request.mandate_id = "m2"
    call.request.mandate.valid_until_time.CopyFrom(to_timestamp(now + timedelta(days=1)))
    await call.make(ann.shop)
    check = payments_pb2.MandateCheck(
        standing_order=f"merchants/{ann.shop.merchant}/standingOrders/weekly",
        mandate=f"{ann.name}/mandates/m2",
        amount=to_money(100, "EUR"),
        charge_time=to_timestamp(FAR),
    )
    response = await suite.suite_client().payments.BatchCheckMandates(
        payments_pb2.BatchCheckMandatesRequest(checks=[check])
    )
    assert payments_pb2.MANDATE_EXPIRED in response.results[0].reasons


async def test_the_provider_s_rules_for_amounts_are_published(suite: Suite) -> None:
    shop = suite.client()
    request = payments_pb2.GetAmountRulesRequest(name=f"{shop.name}/amountRules")
    published = await shop.payments.GetAmountRules(request)
    rules = {rule.currency_code: rule for rule in published.rules}
    assert list(rules) == sorted(rules)
    assert (rules["EUR"].step, rules["EUR"].charge_min) == (to_money(1, "EUR"), to_money(50, "EUR"))
    assert rules["KWD"].step == to_money(10, "KWD")
    assert rules["MGA"].step == to_money(100, "MGA")
    assert published.source_uri.startswith("https://")
    assert published.read_date.year > 0


async def test_a_mandate_below_what_the_provider_charges_is_refused(suite: Suite) -> None:
    ann = await new_customer(suite)
    call = calls_of(ann)["payments.CreateMandate"]
    call.request.mandate.charge_ceiling.CopyFrom(to_money(49, "EUR"))
    call.request.mandate.period_ceiling.amount.CopyFrom(to_money(1, "EUR"))
    refusal = await refused(call.make(ann.shop, request_id=new_id()))
    assert refusal.fields == {
        "mandate.charge_ceiling": "AMOUNT_NOT_CHARGEABLE",
        "mandate.period_ceiling.amount": "AMOUNT_NOT_CHARGEABLE",
    }
