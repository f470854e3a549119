"""A well-formed request for every call of the four services, about any merchant."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf import field_mask_pb2
from google.protobuf.message import Message
from google.type import date_pb2
from recurring.audit.v1 import audit_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.runtime.rpc.conversions import to_date, to_money, to_timestamp
from tests.suite import CALL_TIMEOUT_SECONDS, Client, new_id

FAR = datetime(2090, 1, 1, tzinfo=UTC)
CONTRACTS: dict[str, Any] = {
    "catalog": catalog_pb2,
    "scheduler": scheduler_pb2,
    "payments": payments_pb2,
    "notify": notify_pb2,
}

STREAM_TRIES = 5
LOST_ANSWER = "Internal error from Core"


@dataclass(frozen=True)
class Call:
    """One call, ready to be made."""

    service: str
    method: str
    request: Any
    # Of a call of the suite, the service that makes it.
    asked_by: str = "scheduler"

    @property
    def id(self) -> str:
        return f"{self.service}.{self.method}"

    def make(self, client: Client, **changes: Any) -> Any:  # noqa: ANN401
        """Make the call, with changes of its request; to be awaited."""
        request = type(self.request)()
        request.CopyFrom(self.request)
        for name, value in changes.items():
            setattr(request, name, value)
        method = getattr(getattr(client, self.service), self.method)
        if self.sends_stream:
            return _answer_of(method, request, client)
        return method(request)

    def emptied(self) -> "Call":
        """The same call without anything in it."""
        return Call(self.service, self.method, type(self.request)())

    def send(self, client: Client, payload: bytes) -> Any:  # noqa: ANN401
        """Send bytes instead of a request; to be awaited."""
        [description] = CONTRACTS[self.service].DESCRIPTOR.services_by_name.values()
        path = f"/{description.full_name}/{self.method}"
        channel: Any = client.channel(self.service)
        if self.sends_stream:
            return channel.stream_unary(path)(
                _stream(payload), metadata=client.metadata, timeout=CALL_TIMEOUT_SECONDS
            )
        return channel.unary_unary(path)(payload)

    @property
    def sends_stream(self) -> bool:
        [description] = CONTRACTS[self.service].DESCRIPTOR.services_by_name.values()
        return bool(description.methods_by_name[self.method].client_streaming)

    def takes(self, field: str) -> bool:
        return field in self.request.DESCRIPTOR.fields_by_name


async def _answer_of(method: Any, request: Message, client: Client) -> Any:  # noqa: ANN401
    """The answer to a stream of one message.

    If a server answers while the client is still sending, grpc.aio may lose the answer and say that of
    itself; the call is made again then (https://github.com/grpc/grpc/issues/36066).
    """
    for tries_left in reversed(range(STREAM_TRIES)):
        try:
            return await method(
                _stream(request), metadata=client.metadata, timeout=CALL_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            if error.details() != LOST_ANSWER or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


async def _stream(request: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - a message or bytes
    yield request


def every_method() -> set[str]:
    """All that the contracts offer."""
    return {
        f"{service}.{method.name}"
        for service, contract in CONTRACTS.items()
        for description in contract.DESCRIPTOR.services_by_name.values()
        for method in description.methods
    }


def platform_calls(merchant: str) -> list[Call]:
    """Every call of a merchant's program."""
    calls = [
        *(Call("catalog", *call) for call in _catalog(f"merchants/{merchant}")),
        *(Call("scheduler", *call) for call in _scheduler(f"merchants/{merchant}")),
        *(
            Call("payments", *payment)
            for payment in _payments(f"merchants/{merchant}/customers/ann")
        ),
        *(Call("payments", *call) for call in _links(f"merchants/{merchant}")),
        *(Call("payments", *call) for call in _ledger(f"merchants/{merchant}")),
        *(Call("notify", *call) for call in _notify(f"merchants/{merchant}")),
    ]
    for service in CONTRACTS:
        audit = audit_pb2.ListAuditEntriesRequest(parent=f"merchants/{merchant}")
        calls.append(Call(service, "ListAuditEntries", audit))
    for call in calls:
        if call.takes("request_id"):
            call.request.request_id = new_id()
    return calls


def suite_calls(merchant: str) -> list[Call]:
    """Every call of the suite's own services."""
    name = f"merchants/{merchant}"
    item = catalog_pb2.Item(product=f"{name}/products/tea", quantity=1)
    weekly = f"{name}/standingOrders/weekly"
    cart = catalog_pb2.Cart(
        standing_order=weekly, cycle=1, items=[item], price_time=to_timestamp(FAR)
    )
    hold = catalog_pb2.StockHoldRequest(
        order=f"{weekly}/orders/1",
        announcement_count=1,
        items=[item],
        expire_time=to_timestamp(FAR),
        due_time=to_timestamp(FAR),
    )
    slot = catalog_pb2.SlotRequest(
        order=f"{weekly}/orders/1",
        items=[item],
        dates=[catalog_pb2.SlotDate(date=to_date(FAR.date()), due_time=to_timestamp(FAR))],
        expire_time=to_timestamp(FAR),
    )
    stock = catalog_pb2.StockCheck(merchant=name, items=[item])
    protect = catalog_pb2.ProtectPrices(
        standing_order=weekly, products=[item.product], sign_up_time=to_timestamp(FAR)
    )
    price_change = catalog_pb2.PriceChangeCart(
        cart=cart, price=f"{item.product}/prices/new", notice_time=to_timestamp(FAR)
    )
    check = payments_pb2.MandateCheck(
        standing_order=f"{name}/standingOrders/weekly",
        mandate=f"{name}/customers/ann/mandates/m1",
        amount=to_money(100, "EUR"),
        charge_time=to_timestamp(FAR),
    )
    contacts = notify_pb2.BatchCheckContactsRequest(customers=[f"{name}/customers/ann"])
    return [
        Call("catalog", "BatchQuote", catalog_pb2.BatchQuoteRequest(carts=[cart])),
        Call(
            "catalog",
            "BatchQuotePriceChanges",
            catalog_pb2.BatchQuotePriceChangesRequest(entries=[price_change]),
        ),
        Call("catalog", "BatchHoldStock", catalog_pb2.BatchHoldStockRequest(entries=[hold])),
        Call("catalog", "BatchBookSlots", catalog_pb2.BatchBookSlotsRequest(entries=[slot])),
        Call("catalog", "BatchCheckStock", catalog_pb2.BatchCheckStockRequest(checks=[stock])),
        Call(
            "catalog",
            "BatchCheckSupply",
            catalog_pb2.BatchCheckSupplyRequest(products=[item.product]),
        ),
        Call(
            "catalog",
            "BatchReleasePromotions",
            catalog_pb2.BatchReleasePromotionsRequest(standing_orders=[weekly]),
        ),
        Call(
            "catalog",
            "BatchProtectPrices",
            catalog_pb2.BatchProtectPricesRequest(entries=[protect]),
        ),
        Call(
            "payments",
            "BatchDownloadDocuments",
            payments_pb2.BatchDownloadDocumentsRequest(
                downloads=[
                    payments_pb2.BatchDownloadDocumentsRequest.Download(
                        name=f"{name}/documents/inv-2026-000001"
                    )
                ]
            ),
            asked_by="notify",
        ),
        Call(
            "payments",
            "BatchCheckMandates",
            payments_pb2.BatchCheckMandatesRequest(checks=[check]),
        ),
        Call("notify", "BatchCheckContacts", contacts),
    ]


def _catalog(name: str) -> list[tuple[str, Message]]:
    tea, order = f"{name}/products/tea", f"{name}/standingOrders/weekly/orders/1"
    held = f"{name}/priceProtectionOffers/held"
    product, price = catalog_pb2.Product(title="Tea"), catalog_pb2.Price()
    price.unit_price.CopyFrom(to_money(100, "EUR"))
    vat = catalog_pb2.TaxRate(region_code="DE", tax="vat", title="VAT", rate_ppm=190_000)
    eco = catalog_pb2.TaxRate(region_code="DE", tax="eco", title="Eco tax", rate_ppm=1000)
    settings = catalog_pb2.CatalogSettings(name=f"{name}/catalogSettings")
    capacity = catalog_pb2.Capacity(
        name=f"{name}/products/visit/capacity", weekday_slots=[5, 5, 5, 5, 5, 0, 0]
    )
    own = catalog_pb2.RulePack(name=f"{name}/rulePacks/own")
    return [
        (
            "CreateProduct",
            catalog_pb2.CreateProductRequest(parent=name, product_id="tea", product=product),
        ),
        ("GetProduct", catalog_pb2.GetProductRequest(name=tea)),
        ("ListProducts", catalog_pb2.ListProductsRequest(parent=name)),
        (
            "UpdateProduct",
            catalog_pb2.UpdateProductRequest(
                product=catalog_pb2.Product(name=tea, title="Green tea"),
                update_mask=field_mask_pb2.FieldMask(paths=["title"]),
            ),
        ),
        (
            "ImportProducts",
            catalog_pb2.ImportProductsRequest(config=catalog_pb2.ImportConfig(parent=name)),
        ),
        (
            "ImportPrices",
            catalog_pb2.ImportPricesRequest(config=catalog_pb2.ImportConfig(parent=name)),
        ),
        ("DiscontinueProduct", catalog_pb2.DiscontinueProductRequest(name=tea)),
        ("CreatePrice", catalog_pb2.CreatePriceRequest(parent=tea, price_id="p1", price=price)),
        (
            "BatchCreatePrices",
            catalog_pb2.BatchCreatePricesRequest(
                parent=name,
                entries=[catalog_pb2.NewPrice(parent=tea, price_id="p2", price=price)],
            ),
        ),
        ("GetPrice", catalog_pb2.GetPriceRequest(name=f"{tea}/prices/first")),
        (
            "UpdatePrice",
            catalog_pb2.UpdatePriceRequest(
                price=catalog_pb2.Price(name=f"{tea}/prices/first", unit_price=price.unit_price),
                update_mask=field_mask_pb2.FieldMask(paths=["unit_price"]),
            ),
        ),
        ("WithdrawPrice", catalog_pb2.WithdrawPriceRequest(name=f"{tea}/prices/first")),
        (
            "CreatePromotion",
            catalog_pb2.CreatePromotionRequest(
                parent=name,
                promotion_id="spring",
                promotion=catalog_pb2.Promotion(title="Spring", percent_off_bps=1000),
            ),
        ),
        ("GetPromotion", catalog_pb2.GetPromotionRequest(name=f"{name}/promotions/spring")),
        ("ListPromotions", catalog_pb2.ListPromotionsRequest(parent=name)),
        ("EndPromotion", catalog_pb2.EndPromotionRequest(name=f"{name}/promotions/spring")),
        (
            "CreatePriceProtectionOffer",
            catalog_pb2.CreatePriceProtectionOfferRequest(
                parent=name,
                price_protection_offer_id="held",
                price_protection_offer=catalog_pb2.PriceProtectionOffer(
                    title="Held", cap=catalog_pb2.PriceCap(increase_limit_bps=500), products=[tea]
                ),
            ),
        ),
        ("GetPriceProtectionOffer", catalog_pb2.GetPriceProtectionOfferRequest(name=held)),
        ("ListPriceProtectionOffers", catalog_pb2.ListPriceProtectionOffersRequest(parent=name)),
        ("EndPriceProtectionOffer", catalog_pb2.EndPriceProtectionOfferRequest(name=held)),
        ("ListPrices", catalog_pb2.ListPricesRequest(parent=tea)),
        ("GetStock", catalog_pb2.GetStockRequest(product=tea)),
        ("AdjustStock", catalog_pb2.AdjustStockRequest(product=tea, delta_units=1)),
        (
            "CreateDelivery",
            catalog_pb2.CreateDeliveryRequest(
                parent=tea,
                delivery_id="d1",
                delivery=catalog_pb2.Delivery(units=5, expected_date=to_date(FAR.date())),
            ),
        ),
        ("ListDeliveries", catalog_pb2.ListDeliveriesRequest(parent=tea)),
        ("ReceiveDelivery", catalog_pb2.ReceiveDeliveryRequest(name=f"{tea}/deliveries/d1")),
        ("CancelDelivery", catalog_pb2.CancelDeliveryRequest(name=f"{tea}/deliveries/d1")),
        ("GetCapacity", catalog_pb2.GetCapacityRequest(name=capacity.name)),
        ("UpdateCapacity", catalog_pb2.UpdateCapacityRequest(capacity=capacity)),
        (
            "GetCapacityCalendar",
            catalog_pb2.GetCapacityCalendarRequest(name=capacity.name),
        ),
        ("GetStockHold", catalog_pb2.GetStockHoldRequest(order=order)),
        ("ReleaseStockHold", catalog_pb2.ReleaseStockHoldRequest(order=order)),
        (
            "CreateTaxRate",
            catalog_pb2.CreateTaxRateRequest(parent=name, tax_rate_id="vat", tax_rate=vat),
        ),
        (
            "ImportTaxRates",
            catalog_pb2.ImportTaxRatesRequest(
                parent=name, rows=[catalog_pb2.NewTaxRate(tax_rate_id="eco", tax_rate=eco)]
            ),
        ),
        ("GetTaxRate", catalog_pb2.GetTaxRateRequest(name=f"{name}/taxRates/vat")),
        ("ListTaxRates", catalog_pb2.ListTaxRatesRequest(parent=name)),
        ("WithdrawTaxRate", catalog_pb2.WithdrawTaxRateRequest(name=f"{name}/taxRates/vat")),
        (
            "GetCatalogSettings",
            catalog_pb2.GetCatalogSettingsRequest(name=f"{name}/catalogSettings"),
        ),
        (
            "UpdateCatalogSettings",
            catalog_pb2.UpdateCatalogSettingsRequest(catalog_settings=settings),
        ),
        ("ListRulePacks", catalog_pb2.ListRulePacksRequest(parent=name)),
        ("GetRulePack", catalog_pb2.GetRulePackRequest(name=f"{name}/rulePacks/own")),
        ("UpdateRulePack", catalog_pb2.UpdateRulePackRequest(rule_pack=own)),
        ("GetBindingRules", catalog_pb2.GetBindingRulesRequest(parent=name)),
        (
            "PreviewQuote",
            catalog_pb2.PreviewQuoteRequest(
                parent=name, items=[catalog_pb2.Item(product=tea, quantity=1)]
            ),
        ),
    ]


def _scheduler(name: str) -> list[tuple[str, Message]]:
    weekly = f"{name}/standingOrders/weekly"
    order = f"{weekly}/orders/1"
    wanted = scheduler_pb2.StandingOrder(
        customer=f"{name}/customers/ann",
        title="Tea",
        items=[scheduler_pb2.Item(product=f"{name}/products/tea", quantity=1)],
        schedule=scheduler_pb2.Schedule(
            start_date=to_date(FAR.date()),
            time_zone="Europe/Berlin",
            daily=scheduler_pb2.Schedule.Daily(every_days=1),
        ),
        billing_mode=scheduler_pb2.PAY_ON_NOTICE,
    )
    draft = catalog_pb2.DraftPrice(
        product=f"{name}/products/tea",
        price=catalog_pb2.Price(unit_price=to_money(100, "EUR")),
    )
    renamed = scheduler_pb2.StandingOrder(name=weekly, title="Coffee")
    mask = field_mask_pb2.FieldMask(paths=["title"])
    settings = scheduler_pb2.SchedulerSettings(
        name=f"{name}/schedulerSettings", unpaid_policy=scheduler_pb2.SchedulerSettings.WAIT
    )
    moved = scheduler_pb2.CycleChange(cycle=1, local_date=to_date(FAR.date()))
    return [
        (
            "CreateStandingOrder",
            scheduler_pb2.CreateStandingOrderRequest(parent=name, standing_order=wanted),
        ),
        ("GetStandingOrder", scheduler_pb2.GetStandingOrderRequest(name=weekly)),
        ("ListStandingOrders", scheduler_pb2.ListStandingOrdersRequest(parent=name)),
        ("ListPriceProtections", scheduler_pb2.ListPriceProtectionsRequest(parent=name)),
        (
            "UpdateStandingOrder",
            scheduler_pb2.UpdateStandingOrderRequest(standing_order=renamed, update_mask=mask),
        ),
        (
            "PreviewStandingOrderUpdate",
            scheduler_pb2.PreviewStandingOrderUpdateRequest(
                standing_order=renamed, update_mask=mask
            ),
        ),
        ("PauseStandingOrder", scheduler_pb2.PauseStandingOrderRequest(name=weekly)),
        ("ResumeStandingOrder", scheduler_pb2.ResumeStandingOrderRequest(name=weekly)),
        ("CancelStandingOrder", scheduler_pb2.CancelStandingOrderRequest(name=weekly)),
        ("SkipCycle", scheduler_pb2.SkipCycleRequest(name=weekly, cycle=1)),
        ("RestoreCycle", scheduler_pb2.RestoreCycleRequest(name=weekly, cycle=1)),
        ("ChangeCycle", scheduler_pb2.ChangeCycleRequest(name=weekly, change=moved)),
        ("OrderNow", scheduler_pb2.OrderNowRequest(name=weekly)),
        ("PreviewCycles", scheduler_pb2.PreviewCyclesRequest(name=weekly)),
        ("GetOrder", scheduler_pb2.GetOrderRequest(name=order)),
        ("ListOrders", scheduler_pb2.ListOrdersRequest(parent=f"{name}/standingOrders/-")),
        ("ForecastDemand", scheduler_pb2.ForecastDemandRequest(parent=name)),
        ("GetStockCoverage", scheduler_pb2.GetStockCoverageRequest(parent=name)),
        ("PreviewPriceChange", scheduler_pb2.PreviewPriceChangeRequest(draft=draft)),
        ("ExplainOrder", scheduler_pb2.ExplainOrderRequest(name=order)),
        (
            "ImportStandingOrders",
            scheduler_pb2.ImportStandingOrdersRequest(
                config=scheduler_pb2.ImportConfig(parent=name)
            ),
        ),
        ("ConfirmOrder", scheduler_pb2.ConfirmOrderRequest(name=order)),
        (
            "ResolveActionLink",
            scheduler_pb2.ResolveActionLinkRequest(parent=name, link_token="x" * 20),
        ),
        (
            "ActByLink",
            scheduler_pb2.ActByLinkRequest(
                parent=name, link_token="x" * 20, action=scheduler_pb2.ActionLink.SKIP
            ),
        ),
        (
            "RecordPurchase",
            scheduler_pb2.RecordPurchaseRequest(
                customer=f"{name}/customers/ann", products=[f"{name}/products/tea"]
            ),
        ),
        (
            "EraseCustomer",
            scheduler_pb2.EraseCustomerRequest(name=f"{name}/customers/ann"),
        ),
        ("GetSchedulerSettings", scheduler_pb2.GetSchedulerSettingsRequest(name=settings.name)),
        (
            "UpdateSchedulerSettings",
            scheduler_pb2.UpdateSchedulerSettingsRequest(scheduler_settings=settings),
        ),
    ]


def _payments(customer: str) -> list[tuple[str, Message]]:
    card, mandate = f"{customer}/paymentMethods/card", f"{customer}/mandates/m1"
    charge = f"{customer}/charges/weekly-1"
    rules = f"{customer.rpartition('/customers/')[0]}/amountRules"
    method = payments_pb2.PaymentMethod(provider_token="pm_card_visa")
    evidence = payments_pb2.Mandate.Evidence(text="Yes.", accept_time=to_timestamp(FAR))
    consent = payments_pb2.Mandate(
        payment_method=card, charge_ceiling=to_money(100, "EUR"), evidence=evidence
    )
    return [
        ("GetAmountRules", payments_pb2.GetAmountRulesRequest(name=rules)),
        (
            "CreatePaymentMethod",
            payments_pb2.CreatePaymentMethodRequest(
                parent=customer, payment_method_id="card", payment_method=method
            ),
        ),
        ("GetPaymentMethod", payments_pb2.GetPaymentMethodRequest(name=card)),
        ("ListPaymentMethods", payments_pb2.ListPaymentMethodsRequest(parent=customer)),
        (
            "UpdatePaymentMethod",
            payments_pb2.UpdatePaymentMethodRequest(
                payment_method=payments_pb2.PaymentMethod(name=card, fallback_order=1),
                update_mask=field_mask_pb2.FieldMask(paths=["fallback_order"]),
            ),
        ),
        ("SetDefaultPaymentMethod", payments_pb2.SetDefaultPaymentMethodRequest(name=card)),
        (
            "ReplacePaymentMethod",
            payments_pb2.ReplacePaymentMethodRequest(
                name=card, payment_method_id="next", payment_method=method
            ),
        ),
        ("DetachPaymentMethod", payments_pb2.DetachPaymentMethodRequest(name=card)),
        (
            "CreateMandate",
            payments_pb2.CreateMandateRequest(parent=customer, mandate_id="m1", mandate=consent),
        ),
        ("GetMandate", payments_pb2.GetMandateRequest(name=mandate)),
        ("ListMandates", payments_pb2.ListMandatesRequest(parent=customer)),
        (
            "ConfirmMandate",
            payments_pb2.ConfirmMandateRequest(name=mandate, evidence=evidence),
        ),
        (
            "AmendMandate",
            payments_pb2.AmendMandateRequest(
                name=mandate,
                terms=payments_pb2.MandateTerms(charge_ceiling=consent.charge_ceiling),
                update_mask=field_mask_pb2.FieldMask(paths=["charge_ceiling"]),
                evidence=evidence,
            ),
        ),
        ("PauseMandate", payments_pb2.PauseMandateRequest(name=mandate)),
        ("ResumeMandate", payments_pb2.ResumeMandateRequest(name=mandate)),
        ("RevokeMandate", payments_pb2.RevokeMandateRequest(name=mandate)),
        ("GetCharge", payments_pb2.GetChargeRequest(name=charge)),
        ("ExplainCharge", payments_pb2.ExplainChargeRequest(name=charge)),
        ("ListCharges", payments_pb2.ListChargesRequest(parent=customer)),
        (
            "ConfirmPaymentRequest",
            payments_pb2.ConfirmPaymentRequestRequest(name=charge, payment_method=card),
        ),
        ("CreateRefund", payments_pb2.CreateRefundRequest(parent=charge, refund_id="r1")),
        ("EraseCustomer", payments_pb2.EraseCustomerRequest(name=customer)),
        ("GetRefund", payments_pb2.GetRefundRequest(name=f"{charge}/refunds/r1")),
        ("ListRefunds", payments_pb2.ListRefundsRequest(parent=charge)),
        (
            "CreateCreditTransaction",
            payments_pb2.CreateCreditTransactionRequest(
                parent=customer,
                credit_transaction_id="gift",
                credit_transaction=payments_pb2.CreditTransaction(
                    amount=to_money(500, "EUR"), type=payments_pb2.CreditTransaction.GOODWILL
                ),
            ),
        ),
        (
            "GetCreditBalance",
            payments_pb2.GetCreditBalanceRequest(name=f"{customer}/creditBalance"),
        ),
        ("ListCreditTransactions", payments_pb2.ListCreditTransactionsRequest(parent=customer)),
        ("GetStatement", payments_pb2.GetStatementRequest(name=f"{customer}/statements/2026")),
        (
            "DownloadStatement",
            payments_pb2.DownloadStatementRequest(
                name=f"{customer}/statements/2026",
                format=payments_pb2.DownloadDocumentRequest.HTML,
            ),
        ),
    ]


def _links(name: str) -> list[tuple[str, Message]]:
    # Of no link: only the phone of a customer has one that is.
    token = "x" * 20
    return [
        (
            "ResolvePaymentLink",
            payments_pb2.ResolvePaymentLinkRequest(parent=name, link_token=token),
        ),
        (
            "PayByLink",
            payments_pb2.PayByLinkRequest(
                parent=name,
                link_token=token,
                payment_method=f"{name}/customers/ann/paymentMethods/card",
                amount=to_money(500, "EUR"),
            ),
        ),
    ]


def _ledger(name: str) -> list[tuple[str, Message]]:
    return [
        ("ListLedgerAccounts", payments_pb2.ListLedgerAccountsRequest(parent=name)),
        (
            "GetDunningPolicy",
            payments_pb2.GetDunningPolicyRequest(name=f"{name}/dunningPolicy"),
        ),
        (
            "SimulateDunningPolicy",
            payments_pb2.SimulateDunningPolicyRequest(
                dunning_policy=payments_pb2.DunningPolicy(
                    name=f"{name}/dunningPolicy", schedule=payments_pb2.DunningPolicy.KILL_BILL
                )
            ),
        ),
        (
            "UpdateDunningPolicy",
            payments_pb2.UpdateDunningPolicyRequest(
                dunning_policy=payments_pb2.DunningPolicy(
                    name=f"{name}/dunningPolicy", schedule=payments_pb2.DunningPolicy.KILL_BILL
                )
            ),
        ),
        ("GetDispute", payments_pb2.GetDisputeRequest(name=f"{name}/disputes/d1")),
        ("ListDisputes", payments_pb2.ListDisputesRequest(parent=name)),
        (
            "SubmitDisputeEvidence",
            payments_pb2.SubmitDisputeEvidenceRequest(
                name=f"{name}/disputes/d1", text="They signed for it."
            ),
        ),
        ("AcceptDispute", payments_pb2.AcceptDisputeRequest(name=f"{name}/disputes/d1")),
        (
            "GetPaymentRouting",
            payments_pb2.GetPaymentRoutingRequest(name=f"{name}/paymentRouting"),
        ),
        (
            "UpdatePaymentRouting",
            payments_pb2.UpdatePaymentRoutingRequest(
                payment_routing=payments_pb2.PaymentRouting(
                    name=f"{name}/paymentRouting", bank_debit_provider="stripe"
                )
            ),
        ),
        (
            "GetLedgerSettings",
            payments_pb2.GetLedgerSettingsRequest(name=f"{name}/ledgerSettings"),
        ),
        (
            "UpdateLedgerSettings",
            payments_pb2.UpdateLedgerSettingsRequest(
                ledger_settings=payments_pb2.LedgerSettings(
                    name=f"{name}/ledgerSettings",
                    revenue_recognition=payments_pb2.LedgerSettings.OVER_PERIOD,
                )
            ),
        ),
        (
            "GetDisputePolicy",
            payments_pb2.GetDisputePolicyRequest(name=f"{name}/disputePolicy"),
        ),
        (
            "UpdateDisputePolicy",
            payments_pb2.UpdateDisputePolicyRequest(
                dispute_policy=payments_pb2.DisputePolicy(
                    name=f"{name}/disputePolicy",
                    charging=payments_pb2.DisputePolicy.STOP_WHILE_OPEN,
                )
            ),
        ),
        (
            "GetDocumentSettings",
            payments_pb2.GetDocumentSettingsRequest(name=f"{name}/documentSettings"),
        ),
        (
            "UpdateDocumentSettings",
            payments_pb2.UpdateDocumentSettingsRequest(
                document_settings=payments_pb2.DocumentSettings(
                    name=f"{name}/documentSettings",
                    seller=payments_pb2.Seller(display_name="Tea & Co"),
                    payment_documents=payments_pb2.DocumentSettings.INVOICES,
                )
            ),
        ),
        (
            "GetBillingDetails",
            payments_pb2.GetBillingDetailsRequest(name=f"{name}/customers/ann/billingDetails"),
        ),
        (
            "UpdateBillingDetails",
            payments_pb2.UpdateBillingDetailsRequest(
                billing_details=payments_pb2.BillingDetails(
                    name=f"{name}/customers/ann/billingDetails",
                    display_name="Ann Miller",
                    address_lines=["1 High Street", "York"],
                    region_code="GB",
                )
            ),
        ),
        (
            "GetDocument",
            payments_pb2.GetDocumentRequest(name=f"{name}/documents/inv-2026-000001"),
        ),
        ("ListDocuments", payments_pb2.ListDocumentsRequest(parent=name)),
        (
            "DownloadDocument",
            payments_pb2.DownloadDocumentRequest(
                name=f"{name}/documents/inv-2026-000001",
                format=payments_pb2.DownloadDocumentRequest.HTML,
            ),
        ),
        ("ListLedgerEntries", payments_pb2.ListLedgerEntriesRequest(parent=name)),
        (
            "CloseLedgerPeriod",
            payments_pb2.CloseLedgerPeriodRequest(
                parent=name, through_date=date_pb2.Date(year=1969, month=12, day=31)
            ),
        ),
        ("ListProductSales", payments_pb2.ListProductSalesRequest(parent=name)),
        ("ListReceivables", payments_pb2.ListReceivablesRequest(parent=name)),
        ("ListDunningOutcomes", payments_pb2.ListDunningOutcomesRequest(parent=name)),
        ("ListTaxSummaries", payments_pb2.ListTaxSummariesRequest(parent=name)),
        ("ListLedgerPeriods", payments_pb2.ListLedgerPeriodsRequest(parent=name)),
        ("GetPayout", payments_pb2.GetPayoutRequest(name=f"{name}/payouts/p1")),
        ("ListPayouts", payments_pb2.ListPayoutsRequest(parent=name)),
        (
            "ApplyReconciliationEntry",
            payments_pb2.ApplyReconciliationEntryRequest(
                name=f"{name}/reconciliationFindings/0190b0c2-5e1c-7c3a-8d5e-1f2a3b4c5d6e"
            ),
        ),
        (
            "ListReconciliationFindings",
            payments_pb2.ListReconciliationFindingsRequest(parent=name),
        ),
        (
            "PreviewReconciliation",
            payments_pb2.PreviewReconciliationRequest(
                parent=name, date=date_pb2.Date(year=2026, month=1, day=31)
            ),
        ),
    ]


def _notify(name: str) -> list[tuple[str, Message]]:
    customer = f"{name}/customers/ann"
    contact = f"{customer}/contact"
    wanted = notify_pb2.Contact(name=contact, display_name="Ann")
    # One number gets few codes, whichever test asks for them.
    phone = f"+49170{random.randrange(10**8):08}"  # noqa: S311 - no secret
    return [
        (
            "UpdateContact",
            notify_pb2.UpdateContactRequest(contact=wanted, allow_missing=True),
        ),
        ("GetContact", notify_pb2.GetContactRequest(name=contact)),
        ("EraseCustomer", notify_pb2.EraseCustomerRequest(name=customer)),
        ("ListContacts", notify_pb2.ListContactsRequest(parent=name)),
        (
            "StartPhoneBinding",
            notify_pb2.StartPhoneBindingRequest(name=contact, phone=phone),
        ),
        (
            "ConfirmPhoneBinding",
            notify_pb2.ConfirmPhoneBindingRequest(name=contact, code="12345678"),
        ),
        ("StartEmailBinding", notify_pb2.StartEmailBindingRequest(name=contact)),
        (
            "ConfirmEmailBinding",
            notify_pb2.ConfirmEmailBindingRequest(name=contact, token="x" * 20),
        ),
        ("CancelPhoneChange", notify_pb2.CancelPhoneChangeRequest(name=contact)),
        ("UnbindPhone", notify_pb2.UnbindPhoneRequest(name=contact)),
        ("GetNotifySettings", notify_pb2.GetNotifySettingsRequest(name=f"{name}/notifySettings")),
        (
            "UpdateNotifySettings",
            notify_pb2.UpdateNotifySettingsRequest(
                notify_settings=notify_pb2.NotifySettings(
                    name=f"{name}/notifySettings", web_otp_host="shop.example"
                )
            ),
        ),
        ("ListNotices", notify_pb2.ListNoticesRequest(parent=customer)),
        ("GetNotice", notify_pb2.GetNoticeRequest(name=f"{customer}/notices/n1")),
        ("ListNoticeStatistics", notify_pb2.ListNoticeStatisticsRequest(parent=name)),
        ("ResendNotice", notify_pb2.ResendNoticeRequest(name=f"{customer}/notices/n1")),
        (
            "RedriveNotices",
            notify_pb2.RedriveNoticesRequest(parent=name, start_time=to_timestamp(FAR)),
        ),
        (
            "PreviewNotice",
            notify_pb2.PreviewNoticeRequest(parent=name, kind=notify_pb2.ORDER_UPCOMING),
        ),
        (
            "PreviewNotices",
            notify_pb2.PreviewNoticesRequest(parent=customer, kind=notify_pb2.RECEIPT),
        ),
        (
            "UpdateNoticeTemplate",
            notify_pb2.UpdateNoticeTemplateRequest(
                notice_template=notify_pb2.NoticeTemplate(
                    name=f"{name}/noticeTemplates/receipt-sms-de", text="{{ amount }}: danke!"
                )
            ),
        ),
        (
            "GetNoticeTemplate",
            notify_pb2.GetNoticeTemplateRequest(name=f"{name}/noticeTemplates/receipt-sms-de"),
        ),
        ("ListNoticeTemplates", notify_pb2.ListNoticeTemplatesRequest(parent=name)),
        (
            "DeleteNoticeTemplate",
            notify_pb2.DeleteNoticeTemplateRequest(name=f"{name}/noticeTemplates/receipt-sms-de"),
        ),
        *_webhooks(name),
    ]


def _webhooks(name: str) -> list[tuple[str, Message]]:
    endpoint = f"{name}/webhookEndpoints/shop"
    # Nobody is there.
    wanted = notify_pb2.WebhookEndpoint(
        url="https://hooks.example.com/recurring",
        event_types=["recurring.catalog.v1.StockOut"],
        disabled=True,
    )
    return [
        (
            "CreateWebhookEndpoint",
            notify_pb2.CreateWebhookEndpointRequest(
                parent=name, webhook_endpoint_id="shop", webhook_endpoint=wanted
            ),
        ),
        ("GetWebhookEndpoint", notify_pb2.GetWebhookEndpointRequest(name=endpoint)),
        ("ListWebhookEndpoints", notify_pb2.ListWebhookEndpointsRequest(parent=name)),
        (
            "UpdateWebhookEndpoint",
            notify_pb2.UpdateWebhookEndpointRequest(
                webhook_endpoint=notify_pb2.WebhookEndpoint(name=endpoint, description="The shop")
            ),
        ),
        ("RotateWebhookSecret", notify_pb2.RotateWebhookSecretRequest(name=endpoint)),
        ("TestWebhookEndpoint", notify_pb2.TestWebhookEndpointRequest(name=endpoint)),
        ("ListWebhookDeliveries", notify_pb2.ListWebhookDeliveriesRequest(parent=endpoint)),
        (
            "ReplayWebhookDeliveries",
            notify_pb2.ReplayWebhookDeliveriesRequest(
                parent=endpoint, start_time=to_timestamp(FAR)
            ),
        ),
        ("DeleteWebhookEndpoint", notify_pb2.DeleteWebhookEndpointRequest(name=endpoint)),
    ]
