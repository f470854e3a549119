"""The RPCs of payments: request, use case, response; each method's contract is in its proto."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from google.protobuf.message import Message
from recurring.audit.v1 import audit_pb2
from recurring.payments.v1 import payments_pb2, payments_pb2_grpc

from services.payments.api import mandate_requests, mandate_responses, requests, responses
from services.payments.api.documents import (
    batch_download_response,
    billing_details_message,
    document_message,
    document_settings_message,
    download_response,
    read_billing_details,
    read_document_filter,
    read_document_settings,
    read_download,
    read_downloads,
)
from services.payments.api.reports import (
    dunning_outcome_message,
    outcome_page_key,
    product_sales_message,
    read_days,
    read_instant,
    receivable_message,
    span_fields,
    tax_key_after,
    tax_page_key,
    tax_summary_message,
)
from services.payments.api.statements import (
    read_statement_name,
    statement_file_response,
    statement_message,
)
from services.payments.application import (
    buyers,
    charges,
    credit,
    disputes,
    document_files,
    documents,
    dunning,
    erasure,
    late_payments,
    ledger,
    mandates,
    payment_links,
    payment_methods,
    payment_routing,
    reconciliation,
    refunds,
    reports,
    revenue,
    statements,
)
from services.payments.application.charges import ChargeView
from services.payments.clients.providers import Providers
from services.payments.clients.rendering.process import DocumentRenderer
from services.payments.clients.rule_packs import RulePacks
from services.payments.clients.stock import Stock
from services.payments.domain.consent import Mandate
from services.payments.domain.disputes import Dispute
from services.payments.domain.keys import MerchantId
from services.payments.domain.payment_methods import PaymentMethod
from services.payments.domain.refunds import Refund
from services.payments.names import (
    AMOUNT_RULES,
    BILLING_DETAILS,
    CHARGE,
    CREDIT_BALANCE,
    CUSTOMER,
    CUSTOMER_OR_ANY,
    DISPUTE,
    DISPUTE_POLICY,
    DOCUMENT,
    DOCUMENT_SETTINGS,
    DUNNING_POLICY,
    LEDGER_SETTINGS,
    MANDATE,
    MERCHANT,
    PAYMENT_METHOD,
    PAYMENT_ROUTING,
    PAYOUT,
    RECONCILIATION_FINDING,
    REFUND,
)
from services.payments.store import credit as credit_store
from services.payments.store import disputes as dispute_store
from services.payments.store import documents as document_store
from services.payments.store import dunning as dunning_store
from services.payments.store import ledger as ledger_store
from services.payments.store import ledger_periods as ledger_period_store
from services.payments.store import ledger_settings as ledger_settings_store
from services.payments.store import mandate_amendments as amendment_store
from services.payments.store import mandates as mandate_store
from services.payments.store import payment_methods as payment_method_store
from services.payments.store import payment_routing as payment_routing_store
from services.payments.store import provider_balance as provider_balance_store
from services.payments.store import receivables as receivable_store
from services.payments.store import reconciliation as reconciliation_store
from services.payments.store import refunds as refund_store
from services.payments.store import reports as report_store
from services.payments.store.documents import StoredDocument
from services.runtime.db import audit
from services.runtime.db.pool import Connection, Database
from services.runtime.errors import Problem, not_found
from services.runtime.mutations import Applied, Apply, run_checked_mutation, run_mutation
from services.runtime.rpc.conversions import to_timestamp
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import AFTER_ALL, read_page
from services.runtime.workers.clock import Clock

SHOWN_MAX_AMENDMENTS = 100


class Servicer(payments_pb2_grpc.PaymentsServiceServicer):
    """Answers recurring.payments.v1.PaymentsService."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        providers: Providers,
        renderer: DocumentRenderer,
        rule_packs: RulePacks | None = None,
        stock: Stock | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._providers = providers
        self._renderer = renderer
        self._rule_packs = rule_packs
        self._stock = stock

    def _mandate_message(self, mandate: Mandate) -> payments_pb2.Mandate:
        return mandate_responses.mandate_message(self._database.keyring, self._clock.now(), mandate)

    def _payment_method_message(self, method: PaymentMethod) -> payments_pb2.PaymentMethod:
        return responses.payment_method_message(self._clock.now(), method)

    def _refund_message(self, refund: Refund) -> payments_pb2.Refund:
        return responses.refund_message(self._database.keyring, refund)

    def _dispute_message(self, dispute: Dispute) -> payments_pb2.Dispute:
        return responses.dispute_message(self._database.keyring, dispute)

    # --- payment methods ----------------------------------------------------------------------------

    async def CreatePaymentMethod(
        self, request: payments_pb2.CreatePaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        key, token = requests.read_new_payment_method(request)

        async def decide() -> Apply[PaymentMethod]:
            found = await self._find_token(key.merchant, token)
            return lambda tx: payment_methods.create(tx, key, found, self._clock.now())

        return await run_checked_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            decide,
        )

    async def GetPaymentMethod(
        self, request: payments_pb2.GetPaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        key = read_name(PAYMENT_METHOD, request.name)
        async with self._database.read() as connection:
            return self._payment_method_message(await payment_methods.existing(connection, key))

    async def ListPaymentMethods(
        self, request: payments_pb2.ListPaymentMethodsRequest, _context: object
    ) -> payments_pb2.ListPaymentMethodsResponse:
        owner = read_name(CUSTOMER, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await payment_method_store.of_customer(connection, owner, after, page.limit)
        shown, token = page.cut(
            listed, self._payment_method_message, lambda method: (method.payment_method,)
        )
        return payments_pb2.ListPaymentMethodsResponse(payment_methods=shown, next_page_token=token)

    async def UpdatePaymentMethod(
        self, request: payments_pb2.UpdatePaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            lambda tx: payment_methods.set_fallback_order(
                tx, *requests.read_payment_method_update(request), self._clock.now()
            ),
        )

    async def SetDefaultPaymentMethod(
        self, request: payments_pb2.SetDefaultPaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            lambda tx: payment_methods.set_default(
                tx, read_name(PAYMENT_METHOD, request.name), self._clock.now()
            ),
        )

    async def ReplacePaymentMethod(
        self, request: payments_pb2.ReplacePaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        old, new, token = requests.read_replacement(request)

        async def decide() -> Apply[PaymentMethod]:
            found = await self._find_token(old.merchant, token)
            return lambda tx: payment_methods.replace_method(tx, old, new, found, self._clock.now())

        return await run_checked_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            decide,
        )

    async def DetachPaymentMethod(
        self, request: payments_pb2.DetachPaymentMethodRequest, _context: object
    ) -> payments_pb2.PaymentMethod:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.PaymentMethod,
            self._payment_method_message,
            lambda tx: payment_methods.detach(
                tx, read_name(PAYMENT_METHOD, request.name), self._clock.now(), force=request.force
            ),
        )

    # --- mandates -----------------------------------------------------------------------------------

    async def CreateMandate(
        self, request: payments_pb2.CreateMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        async def decide() -> Apply[Mandate]:
            now = self._clock.now()
            mandate = mandate_requests.read_new_mandate(request, self._database.keyring, now)
            if region_code := request.mandate.region_code:
                await mandates.check_rules(self._database, self._rule_packs, mandate, region_code)
            return lambda tx: mandates.create(tx, mandate)

        return await run_checked_mutation(
            self._database, request, payments_pb2.Mandate, self._mandate_message, decide
        )

    async def GetMandate(
        self, request: payments_pb2.GetMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        async with self._database.read() as connection:
            mandate = await mandates.existing(connection, key)
            amendments = await amendment_store.of_mandate(connection, key, SHOWN_MAX_AMENDMENTS)
        return mandate_responses.mandate_message(
            self._database.keyring, self._clock.now(), mandate, amendments
        )

    async def ListMandates(
        self, request: payments_pb2.ListMandatesRequest, _context: object
    ) -> payments_pb2.ListMandatesResponse:
        owner = read_name(CUSTOMER, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await mandate_store.of_customer(connection, owner, after, page.limit)
        shown, token = page.cut(listed, self._mandate_message, lambda mandate: (mandate.mandate,))
        return payments_pb2.ListMandatesResponse(mandates=shown, next_page_token=token)

    async def ConfirmMandate(
        self, request: payments_pb2.ConfirmMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key, evidence = mandate_requests.read_consent(request, self._database.keyring)
        return await self._change_mandate(
            request, lambda tx, now: mandates.confirm(tx, key, evidence, request.etag, now)
        )

    async def AmendMandate(
        self, request: payments_pb2.AmendMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        async def decide() -> Apply[Mandate]:
            now = self._clock.now()
            wanted, evidence = mandate_requests.read_amendment(request)
            if region_code := request.region_code:
                await mandates.check_amended(self._database, self._rule_packs, wanted, region_code)
            return lambda tx: mandates.amend(tx, wanted, evidence, request.etag, now)

        return await run_checked_mutation(
            self._database, request, payments_pb2.Mandate, self._mandate_message, decide
        )

    async def PauseMandate(
        self, request: payments_pb2.PauseMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        return await self._change_mandate(
            request, lambda tx, now: mandates.pause(tx, key, request.etag, now)
        )

    async def ResumeMandate(
        self, request: payments_pb2.ResumeMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        return await self._change_mandate(
            request, lambda tx, now: mandates.resume(tx, key, request.etag, now)
        )

    async def RevokeMandate(
        self, request: payments_pb2.RevokeMandateRequest, _context: object
    ) -> payments_pb2.Mandate:
        key = read_name(MANDATE, request.name)
        return await self._change_mandate(
            request, lambda tx, now: mandates.revoke(tx, key, request.etag, now)
        )

    async def _change_mandate(
        self,
        request: Message,
        change: Callable[[Connection, datetime], Awaitable[Applied[Mandate]]],
    ) -> payments_pb2.Mandate:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Mandate,
            self._mandate_message,
            lambda tx: change(tx, self._clock.now()),
        )

    async def GetAmountRules(
        self, request: payments_pb2.GetAmountRulesRequest, _context: object
    ) -> payments_pb2.AmountRules:
        read_name(AMOUNT_RULES, request.name)
        return responses.amount_rules_message(
            request.name, self._providers.default.capabilities.amount_rules
        )

    # --- charges ------------------------------------------------------------------------------------

    async def GetCharge(
        self, request: payments_pb2.GetChargeRequest, _context: object
    ) -> payments_pb2.Charge:
        key = read_name(CHARGE, request.name)
        async with self._database.read() as connection:
            [view] = await charges.views(connection, [await charges.existing(connection, key)])
        return responses.charge_message(view)

    async def ExplainCharge(
        self, request: payments_pb2.ExplainChargeRequest, _context: object
    ) -> payments_pb2.ExplainChargeResponse:
        key = read_name(CHARGE, request.name)
        async with self._database.read() as connection:
            view, verdicts = await charges.explained(connection, key)
        return responses.explanation(view, verdicts)

    async def ListCharges(
        self, request: payments_pb2.ListChargesRequest, _context: object
    ) -> payments_pb2.ListChargesResponse:
        state = payments_pb2.Charge.State.Name(request.state) if request.state else ""
        owner = read_name(CUSTOMER_OR_ANY, request.parent)
        page = read_page(request, keys=2)
        charge, customer = page.after or ("", "")
        async with self._database.read() as connection:
            listed = await charges.views_of(
                connection, owner, state, (charge, customer), page.limit
            )
        shown, token = page.cut(
            listed,
            responses.charge_message,
            lambda view: (view.charge.charge, view.charge.customer),
        )
        return payments_pb2.ListChargesResponse(charges=shown, next_page_token=token)

    async def ConfirmPaymentRequest(
        self, request: payments_pb2.ConfirmPaymentRequestRequest, _context: object
    ) -> payments_pb2.Charge:
        async def decide() -> Apply[ChargeView]:
            key, method, amount = requests.read_confirmation(request)
            await late_payments.check_stock(self._database, self._stock, key)
            return lambda tx: charges.confirm(tx, key, method, amount, self._clock.now())

        return await run_checked_mutation(
            self._database, request, payments_pb2.Charge, responses.charge_message, decide
        )

    async def ResolvePaymentLink(
        self, request: payments_pb2.ResolvePaymentLinkRequest, _context: object
    ) -> payments_pb2.PaymentRequest:
        merchant, now = read_name(MERCHANT, request.parent), self._clock.now()
        async with self._database.read() as connection:
            linked = await payment_links.resolve(connection, merchant, request.link_token, now)
        return responses.payment_request_message(now, linked)

    async def PayByLink(
        self, request: payments_pb2.PayByLinkRequest, _context: object
    ) -> payments_pb2.Charge:
        async def decide() -> Apply[ChargeView]:
            merchant, token, method, amount = requests.read_payment_by_link(request)
            async with self._database.read() as connection:
                link = await payment_links.existing(connection, merchant, token)
            await late_payments.check_stock(self._database, self._stock, link.charge_key)
            return lambda tx: payment_links.pay(
                tx, merchant, token, method, amount, self._clock.now()
            )

        return await run_checked_mutation(
            self._database, request, payments_pb2.Charge, responses.charge_message, decide
        )

    # --- refunds ------------------------------------------------------------------------------------

    async def CreateRefund(
        self, request: payments_pb2.CreateRefundRequest, _context: object
    ) -> payments_pb2.Refund:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Refund,
            self._refund_message,
            lambda tx: refunds.create(
                tx,
                *requests.read_new_refund(request),
                request.refund.note,
                self._clock.now(),
                to_credit=request.refund.to_credit,
                wanted_lines=requests.read_refund_lines(request),
            ),
        )

    async def GetRefund(
        self, request: payments_pb2.GetRefundRequest, _context: object
    ) -> payments_pb2.Refund:
        key = read_name(REFUND, request.name)
        async with self._database.read() as connection:
            return self._refund_message(await refunds.existing(connection, key))

    async def ListRefunds(
        self, request: payments_pb2.ListRefundsRequest, _context: object
    ) -> payments_pb2.ListRefundsResponse:
        key = read_name(CHARGE, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            await charges.existing(connection, key)
            listed = await refund_store.of_charge(connection, key, after, page.limit)
        shown, token = page.cut(listed, self._refund_message, lambda refund: (refund.refund,))
        return payments_pb2.ListRefundsResponse(refunds=shown, next_page_token=token)

    # --- credit -------------------------------------------------------------------------------------

    async def CreateCreditTransaction(
        self, request: payments_pb2.CreateCreditTransactionRequest, _context: object
    ) -> payments_pb2.CreditTransaction:
        now = self._clock.now()
        return await run_mutation(
            self._database,
            request,
            payments_pb2.CreditTransaction,
            responses.credit_transaction_message,
            lambda tx: credit.create(tx, requests.read_new_credit_transaction(request, now), now),
        )

    async def GetCreditBalance(
        self, request: payments_pb2.GetCreditBalanceRequest, _context: object
    ) -> payments_pb2.CreditBalance:
        owner = read_name(CREDIT_BALANCE, request.name)
        async with self._database.read() as connection:
            held = await credit_store.of_customer(connection, owner)
        return responses.credit_balance_message(request.name, held)

    async def ListCreditTransactions(
        self, request: payments_pb2.ListCreditTransactionsRequest, _context: object
    ) -> payments_pb2.ListCreditTransactionsResponse:
        owner = read_name(CUSTOMER, request.parent)
        page = read_page(request, keys=1)
        after = page.after_position()
        async with self._database.read() as connection:
            listed = await credit_store.transactions(connection, owner, after, page.limit)
        shown, token = page.cut(
            listed, responses.credit_transaction_message, lambda it: (str(it.position),)
        )
        return payments_pb2.ListCreditTransactionsResponse(
            credit_transactions=shown, next_page_token=token
        )

    # --- disputes -----------------------------------------------------------------------------------

    async def GetDispute(
        self, request: payments_pb2.GetDisputeRequest, _context: object
    ) -> payments_pb2.Dispute:
        name = read_name(DISPUTE, request.name)
        async with self._database.read() as connection:
            return self._dispute_message(await disputes.existing(connection, name))

    async def ListDisputes(
        self, request: payments_pb2.ListDisputesRequest, _context: object
    ) -> payments_pb2.ListDisputesResponse:
        merchant, state, charge = requests.read_dispute_filter(request)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await dispute_store.of_merchant(
                connection, merchant, state, charge, after, page.limit
            )
        shown, token = page.cut(listed, self._dispute_message, lambda dispute: (dispute.dispute,))
        return payments_pb2.ListDisputesResponse(disputes=shown, next_page_token=token)

    async def SubmitDisputeEvidence(
        self, request: payments_pb2.SubmitDisputeEvidenceRequest, _context: object
    ) -> payments_pb2.Dispute:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Dispute,
            self._dispute_message,
            lambda tx: disputes.submit_evidence(
                tx, read_name(DISPUTE, request.name), request.text, self._clock.now()
            ),
        )

    async def AcceptDispute(
        self, request: payments_pb2.AcceptDisputeRequest, _context: object
    ) -> payments_pb2.Dispute:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.Dispute,
            self._dispute_message,
            lambda tx: disputes.accept(tx, read_name(DISPUTE, request.name), self._clock.now()),
        )

    async def GetDisputePolicy(
        self, request: payments_pb2.GetDisputePolicyRequest, _context: object
    ) -> payments_pb2.DisputePolicy:
        merchant = read_name(DISPUTE_POLICY, request.name)
        async with self._database.read() as connection:
            return responses.dispute_policy_message(
                await dispute_store.policy(connection, merchant)
            )

    async def UpdateDisputePolicy(
        self, request: payments_pb2.UpdateDisputePolicyRequest, _context: object
    ) -> payments_pb2.DisputePolicy:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.DisputePolicy,
            responses.dispute_policy_message,
            lambda tx: disputes.change_policy(
                tx, requests.read_dispute_policy(request), request.dispute_policy.etag
            ),
        )

    # --- routing ------------------------------------------------------------------------------------

    async def GetPaymentRouting(
        self, request: payments_pb2.GetPaymentRoutingRequest, _context: object
    ) -> payments_pb2.PaymentRouting:
        merchant = read_name(PAYMENT_ROUTING, request.name)
        async with self._database.read() as connection:
            return responses.payment_routing_message(
                await payment_routing_store.get(connection, merchant)
            )

    async def UpdatePaymentRouting(
        self, request: payments_pb2.UpdatePaymentRoutingRequest, _context: object
    ) -> payments_pb2.PaymentRouting:
        wanted = requests.read_payment_routing(request)
        payment_routing.check(self._providers, wanted)
        return await run_mutation(
            self._database,
            request,
            payments_pb2.PaymentRouting,
            responses.payment_routing_message,
            lambda tx: payment_routing.change(tx, wanted, request.payment_routing.etag),
        )

    # --- ledger settings ----------------------------------------------------------------------------

    async def GetLedgerSettings(
        self, request: payments_pb2.GetLedgerSettingsRequest, _context: object
    ) -> payments_pb2.LedgerSettings:
        merchant = read_name(LEDGER_SETTINGS, request.name)
        async with self._database.read() as connection:
            settings = await ledger_settings_store.get(connection, merchant)
            return responses.ledger_settings_message(settings)

    async def UpdateLedgerSettings(
        self, request: payments_pb2.UpdateLedgerSettingsRequest, _context: object
    ) -> payments_pb2.LedgerSettings:
        wanted = requests.read_ledger_settings(request)
        return await run_mutation(
            self._database,
            request,
            payments_pb2.LedgerSettings,
            responses.ledger_settings_message,
            lambda tx: revenue.change_settings(tx, wanted, request.ledger_settings.etag),
        )

    async def _find_token(
        self, merchant: MerchantId, token: payment_methods.WantedToken
    ) -> payment_methods.FoundToken:
        async with self._database.read() as connection:
            routing = await payment_routing_store.get(connection, merchant)
        return await payment_methods.find_token(self._providers, token, routing)

    # --- erasure ------------------------------------------------------------------------------------

    async def EraseCustomer(
        self, request: payments_pb2.EraseCustomerRequest, _context: object
    ) -> payments_pb2.EraseCustomerResponse:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.EraseCustomerResponse,
            responses.erasure_response,
            lambda tx: erasure.erase(tx, read_name(CUSTOMER, request.name), self._clock.now()),
        )

    # --- ledger -------------------------------------------------------------------------------------

    async def ListLedgerAccounts(
        self, request: payments_pb2.ListLedgerAccountsRequest, _context: object
    ) -> payments_pb2.ListLedgerAccountsResponse:
        merchant, as_of_time = requests.read_balances(request)
        page = read_page(request, keys=2)
        account, currency = page.after or ("", "")
        async with self._database.read() as connection:
            listed = await ledger_store.balances(
                connection, merchant, as_of_time, (account, currency), page.limit
            )
        shown, token = page.cut(
            listed,
            lambda row: responses.ledger_account_message(merchant, row),
            lambda row: (row.account, row.currency),
        )
        return payments_pb2.ListLedgerAccountsResponse(ledger_accounts=shown, next_page_token=token)

    async def ListLedgerEntries(
        self, request: payments_pb2.ListLedgerEntriesRequest, _context: object
    ) -> payments_pb2.ListLedgerEntriesResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=2)
        after = page.after_numbered_position()
        async with self._database.read() as connection:
            listed = await ledger_store.entries(connection, merchant, after, page.limit)
        shown, token = page.cut(
            listed, responses.ledger_entry_message, lambda row: (str(row.position), str(row.leg))
        )
        return payments_pb2.ListLedgerEntriesResponse(ledger_entries=shown, next_page_token=token)

    async def CloseLedgerPeriod(
        self, request: payments_pb2.CloseLedgerPeriodRequest, _context: object
    ) -> payments_pb2.LedgerPeriod:
        merchant, through_date = requests.read_period(request)
        return await run_mutation(
            self._database,
            request,
            payments_pb2.LedgerPeriod,
            responses.ledger_period_message,
            lambda tx: ledger.close_period(tx, merchant, through_date, self._clock.now()),
        )

    async def ListLedgerPeriods(
        self, request: payments_pb2.ListLedgerPeriodsRequest, _context: object
    ) -> payments_pb2.ListLedgerPeriodsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        async with self._database.read() as connection:
            listed = await ledger_period_store.periods(
                connection, merchant, page.after_date(), page.limit
            )
        shown, token = page.cut(
            listed, responses.ledger_period_message, lambda row: (row.through_date.isoformat(),)
        )
        return payments_pb2.ListLedgerPeriodsResponse(ledger_periods=shown, next_page_token=token)

    async def GetPayout(
        self, request: payments_pb2.GetPayoutRequest, _context: object
    ) -> payments_pb2.Payout:
        key = read_name(PAYOUT, request.name)
        async with self._database.read() as connection:
            payout = await provider_balance_store.payout(connection, key)
        if payout is None:
            raise not_found("PAYOUT_NOT_FOUND", key.name)
        return responses.payout_message(payout)

    async def ListPayouts(
        self, request: payments_pb2.ListPayoutsRequest, _context: object
    ) -> payments_pb2.ListPayoutsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=3)
        _, payout, currency = page.after or ("", "", "")
        before = (page.after_time(), payout, currency)
        async with self._database.read() as connection:
            listed = await provider_balance_store.payouts(connection, merchant, before, page.limit)
        shown, token = page.cut(
            listed,
            responses.payout_message,
            lambda row: (row.arrive_time.isoformat(), row.payout, row.currency),
        )
        return payments_pb2.ListPayoutsResponse(payouts=shown, next_page_token=token)

    async def PreviewReconciliation(
        self, request: payments_pb2.PreviewReconciliationRequest, _context: object
    ) -> payments_pb2.PreviewReconciliationResponse:
        merchant, day = requests.read_day(request, self._clock.now())
        page = read_page(request, keys=2)
        source, type_ = page.after or ("", "")
        async with self._database.read() as connection:
            compared = await reconciliation_store.compare(
                connection, merchant, self._providers.names, day, (source, type_), page.limit
            )
        shown, token = page.cut(
            compared.findings, responses.finding_message, lambda row: (row.source, row.type)
        )
        return payments_pb2.PreviewReconciliationResponse(
            complete=compared.complete,
            matched_count=compared.matched_count,
            findings=shown,
            next_page_token=token,
        )

    async def ListReconciliationFindings(
        self, request: payments_pb2.ListReconciliationFindingsRequest, _context: object
    ) -> payments_pb2.ListReconciliationFindingsResponse:
        merchant, with_resolved = requests.read_findings(request)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await reconciliation_store.findings(
                connection, merchant, after, page.limit, with_resolved=with_resolved
            )
        shown, token = page.cut(
            listed, responses.recorded_finding_message, lambda row: (row.finding,)
        )
        return payments_pb2.ListReconciliationFindingsResponse(
            findings=shown, next_page_token=token
        )

    async def ApplyReconciliationEntry(
        self, request: payments_pb2.ApplyReconciliationEntryRequest, _context: object
    ) -> payments_pb2.ReconciliationFinding:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.ReconciliationFinding,
            responses.recorded_finding_message,
            lambda tx: reconciliation.apply_entry(
                tx,
                read_name(RECONCILIATION_FINDING, request.name),
                requests.MENDED_AGAINST[request.account],
                self._clock.now(),
            ),
        )

    # --- documents ----------------------------------------------------------------------------------

    async def GetDocumentSettings(
        self, request: payments_pb2.GetDocumentSettingsRequest, _context: object
    ) -> payments_pb2.DocumentSettings:
        merchant = read_name(DOCUMENT_SETTINGS, request.name)
        async with self._database.read() as connection:
            return document_settings_message(await documents.settings(connection, merchant))

    async def UpdateDocumentSettings(
        self, request: payments_pb2.UpdateDocumentSettingsRequest, _context: object
    ) -> payments_pb2.DocumentSettings:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.DocumentSettings,
            document_settings_message,
            lambda tx: documents.change_settings(
                tx,
                *read_document_settings(request.document_settings),
                request.document_settings.etag,
            ),
        )

    async def GetBillingDetails(
        self, request: payments_pb2.GetBillingDetailsRequest, _context: object
    ) -> payments_pb2.BillingDetails:
        customer = read_name(BILLING_DETAILS, request.name)
        async with self._database.read() as connection:
            return billing_details_message(await buyers.get(connection, customer))

    async def UpdateBillingDetails(
        self, request: payments_pb2.UpdateBillingDetailsRequest, _context: object
    ) -> payments_pb2.BillingDetails:
        wanted = request.billing_details
        return await run_mutation(
            self._database,
            request,
            payments_pb2.BillingDetails,
            billing_details_message,
            lambda tx: buyers.change(tx, read_billing_details(wanted), wanted.etag),
        )

    async def GetDocument(
        self, request: payments_pb2.GetDocumentRequest, _context: object
    ) -> payments_pb2.Document:
        key = read_name(DOCUMENT, request.name)
        async with self._database.read() as connection:
            stored = await documents.existing(connection, key)
            named = await buyers.buyers(connection, [stored.document])
        return document_message(stored, named.get(key))

    async def ListDocuments(
        self, request: payments_pb2.ListDocumentsRequest, _context: object
    ) -> payments_pb2.ListDocumentsResponse:
        owner = read_document_filter(request)
        page = read_page(request, keys=1)
        before = page.after_position(AFTER_ALL)
        if owner is None:
            return payments_pb2.ListDocumentsResponse()
        async with self._database.read() as connection:
            listed = await document_store.listed(connection, owner, before, page.limit)
            named = await buyers.buyers(connection, [stored.document for stored in listed])

        def message(stored: StoredDocument) -> payments_pb2.Document:
            return document_message(stored, named.get(stored.document.key))

        shown, token = page.cut(listed, message, lambda it: (str(it.position),))
        return payments_pb2.ListDocumentsResponse(documents=shown, next_page_token=token)

    async def DownloadDocument(
        self, request: payments_pb2.DownloadDocumentRequest, _context: object
    ) -> payments_pb2.DownloadDocumentResponse:
        wanted, now = read_download(request), self._clock.now()
        [downloaded] = await document_files.download(self._database, self._renderer, [wanted], now)
        if isinstance(downloaded, Problem):
            raise downloaded
        return download_response(downloaded)

    # --- dunning ------------------------------------------------------------------------------------

    async def GetDunningPolicy(
        self, request: payments_pb2.GetDunningPolicyRequest, _context: object
    ) -> payments_pb2.DunningPolicy:
        merchant = read_name(DUNNING_POLICY, request.name)
        async with self._database.read() as connection:
            return responses.dunning_policy_message(await dunning_store.get(connection, merchant))

    async def UpdateDunningPolicy(
        self, request: payments_pb2.UpdateDunningPolicyRequest, _context: object
    ) -> payments_pb2.DunningPolicy:
        return await run_mutation(
            self._database,
            request,
            payments_pb2.DunningPolicy,
            responses.dunning_policy_message,
            lambda tx: dunning.change(
                tx,
                requests.read_dunning_policy(request.dunning_policy),
                request.dunning_policy.etag,
            ),
        )

    async def SimulateDunningPolicy(
        self, request: payments_pb2.SimulateDunningPolicyRequest, _context: object
    ) -> payments_pb2.SimulateDunningPolicyResponse:
        policy = requests.read_dunning_policy(request.dunning_policy)
        async with self._database.read() as connection:
            simulated = await dunning.simulate(connection, policy, self._clock.now())
        return responses.simulation_response(*simulated)

    # --- reports ------------------------------------------------------------------------------------

    async def ListProductSales(
        self, request: payments_pb2.ListProductSalesRequest, _context: object
    ) -> payments_pb2.ListProductSalesResponse:
        days = read_days(request)
        page = read_page(request, keys=2)
        product, currency = page.after or ("", "")
        async with self._database.read() as connection:
            span = await reports.span(connection, days, self._clock.now())
            listed = await report_store.product_sales(
                connection, days.merchant, span.times, (product, currency), page.limit
            )
        shown, token = page.cut(
            listed,
            lambda row: product_sales_message(days.merchant, row),
            lambda row: (row.product, row.currency),
        )
        return payments_pb2.ListProductSalesResponse(
            product_sales=shown, next_page_token=token, **span_fields(span)
        )

    async def ListTaxSummaries(
        self, request: payments_pb2.ListTaxSummariesRequest, _context: object
    ) -> payments_pb2.ListTaxSummariesResponse:
        days = read_days(request)
        page = read_page(request, keys=5)
        async with self._database.read() as connection:
            span = await reports.span(connection, days, self._clock.now())
            listed = await report_store.tax_summaries(
                connection, days.merchant, span.times, tax_key_after(page), page.limit
            )
        shown, token = page.cut(
            listed, lambda row: tax_summary_message(days.merchant, row), tax_page_key
        )
        return payments_pb2.ListTaxSummariesResponse(
            tax_summaries=shown, next_page_token=token, **span_fields(span)
        )

    async def ListReceivables(
        self, request: payments_pb2.ListReceivablesRequest, _context: object
    ) -> payments_pb2.ListReceivablesResponse:
        merchant, wanted_time, wanted_zone = read_instant(request)
        page = read_page(request, keys=2)
        customer, currency = page.after or ("", "")
        async with self._database.read() as connection:
            as_of_time, zone = await reports.instant(
                connection, merchant, wanted_time, wanted_zone, self._clock.now()
            )
            listed = await receivable_store.receivables(
                connection, merchant, as_of_time, zone, (customer, currency), page.limit
            )
        shown, token = page.cut(
            listed,
            lambda row: receivable_message(merchant, row),
            lambda row: (row.customer, row.currency),
        )
        return payments_pb2.ListReceivablesResponse(
            receivables=shown,
            next_page_token=token,
            as_of_time=to_timestamp(as_of_time),
            time_zone=zone,
        )

    async def ListDunningOutcomes(
        self, request: payments_pb2.ListDunningOutcomesRequest, _context: object
    ) -> payments_pb2.ListDunningOutcomesResponse:
        days = read_days(request)
        page = read_page(request, keys=4)
        currency, _, _, means = page.after or ("", "", "", "")
        after = (currency, page.number_at(1), page.number_at(2), means)
        async with self._database.read() as connection:
            span = await reports.span(connection, days, self._clock.now())
            listed = await receivable_store.dunning_outcomes(
                connection, days.merchant, span.times, after, page.limit
            )
            shown, token = page.cut(listed, dunning_outcome_message, outcome_page_key)
            policies = await dunning_store.versions(
                connection, days.merchant, {outcome.policy_version for outcome in shown}
            )
        return payments_pb2.ListDunningOutcomesResponse(
            dunning_outcomes=shown,
            dunning_policies=map(responses.dunning_policy_message, policies),
            next_page_token=token,
            **span_fields(span),
        )

    async def GetStatement(
        self, request: payments_pb2.GetStatementRequest, _context: object
    ) -> payments_pb2.Statement:
        customer, period = read_statement_name(request.name)
        now = self._clock.now()
        async with self._database.read() as connection:
            return statement_message(await statements.statement(connection, customer, period, now))

    async def DownloadStatement(
        self, request: payments_pb2.DownloadStatementRequest, _context: object
    ) -> payments_pb2.DownloadStatementResponse:
        customer, period = read_statement_name(request.name)
        file = await statements.download(
            self._database,
            self._renderer,
            customer,
            period,
            payments_pb2.DownloadDocumentRequest.Format.Name(request.format),
            request.language_code,
            self._clock.now(),
        )
        return statement_file_response(customer, period, file)

    # --- audit --------------------------------------------------------------------------------------

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, _context: object
    ) -> audit_pb2.ListAuditEntriesResponse:
        return await audit.answer(self._database, request)

    # --- for the suite ------------------------------------------------------------------------------

    async def BatchDownloadDocuments(
        self, request: payments_pb2.BatchDownloadDocumentsRequest, _context: object
    ) -> payments_pb2.BatchDownloadDocumentsResponse:
        downloaded = await document_files.download(
            self._database, self._renderer, read_downloads(request), self._clock.now()
        )
        return batch_download_response(downloaded)

    async def BatchCheckMandates(
        self, request: payments_pb2.BatchCheckMandatesRequest, _context: object
    ) -> payments_pb2.BatchCheckMandatesResponse:
        checks, planned = mandate_requests.read_checks(request)
        async with self._database.read() as connection:
            results = await mandates.check(connection, checks, planned, in_turn=request.in_turn)
        return mandate_responses.check_response(results)
