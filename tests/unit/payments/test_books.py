"""The books of any history balance, and come to what the provider, the bank and customers have."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from services.payments.domain.accounts import (
    BANK,
    CUSTOMER_CREDIT,
    DEFERRED_REVENUE,
    PROVIDER_CLEARING,
    RECEIVABLE,
    account_type,
)
from services.payments.domain.charges import Charge
from services.payments.domain.credit import (
    CreditTransaction,
    CreditType,
    give_refund,
    use_credit,
)
from services.payments.domain.disputes import Dispute, DisputeState
from services.payments.domain.keys import (
    ChargeId,
    CreditTransactionId,
    CustomerKey,
    DisputeId,
    MandateId,
    RefundId,
)
from services.payments.domain.ledger import (
    book_charge,
    book_credit,
    book_refund,
    book_refund_to_credit,
    book_reinstatement,
    book_withdrawal,
    comes_back,
    net_minor_of,
    reverse,
)
from services.payments.domain.lines import ChargeLine, LineTax, dump_lines
from services.payments.domain.provider_balance import (
    BalanceTransaction,
    BalanceType,
    PayoutShare,
    ProviderPayout,
    book_fee,
    book_payout,
    payout_state,
)
from services.payments.domain.reconciliation import Finding, FindingKind, mending
from services.payments.domain.refunds import Refund
from services.payments.domain.revenue import Deferral, changed_by, defer, recognize
from services.payments.domain.transfers import Transfer
from services.payments.domain.transitions import ChargeState, RefundState
from tests.unit.payments.strategies import ANN, CHARGE

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CURRENCIES = ("EUR", "USD")
TAXES = st.builds(
    LineTax,
    st.sampled_from(["de-vat", ""]),
    st.just(190_000),
    st.integers(0, 500),
    st.just("VAT"),
    st.just(""),
)
LINES = st.lists(
    st.builds(
        lambda net_minor, taxes: ChargeLine("tea", 1, net_minor, tuple(taxes), "Tea"),
        st.integers(1, 5000),
        st.lists(TAXES, max_size=2),
    ),
    min_size=1,
    max_size=3,
)


class Payout(NamedTuple):
    """What a payout has paid out, and what it brought in each currency."""

    name: str
    transactions: list[BalanceTransaction]
    shares: list[PayoutShare]


class Books(RuleBasedStateMachine):
    """Whatever happens is booked, and noted beside the books as the other side has it."""

    charges = Bundle("charges")
    refunds = Bundle("refunds")
    disputes = Bundle("disputes")

    def __init__(self, customer: CustomerKey = ANN, start_time: datetime = NOW) -> None:
        super().__init__()
        self.customer = customer
        self.now = start_time
        self.charged: list[Charge] = []
        self.refunded: list[Refund] = []
        self.booked: list[Transfer] = []
        # What the provider lists, and what of it was not paid out.
        self.listed: list[BalanceTransaction] = []
        self.unpaid: list[BalanceTransaction] = []
        self.bank: Counter[str] = Counter()
        self.credit: Counter[str] = Counter()
        # What can still be given back of a charge, and of it to the payment method.
        self.left: Counter[ChargeId] = Counter()
        self.left_of_method: Counter[ChargeId] = Counter()
        self.deferrals: dict[ChargeId, Deferral] = {}
        self.payouts: list[Payout] = []
        self.number = 0

    def next(self) -> int:
        self.number += 1
        return self.number

    def moves(self, type_: BalanceType, source: str, minor: int, fee: int, currency: str) -> None:
        """The provider moves money, and keeps a fee."""
        moved = BalanceTransaction(
            *self.customer, source, f"txn_{self.next()}", type_, minor, fee, currency, self.now
        )
        self.listed.append(moved)
        self.unpaid.append(moved)
        if fee:
            self.booked.append(book_fee(moved, self.now))

    def books(self, charge: Charge, transfers: Iterable[Transfer]) -> None:
        """What refunds and disputes book, and make of what is deferred."""
        booked = list(transfers)
        self.booked += booked
        if charge.charge in self.deferrals:
            deferral = self.deferrals[charge.charge]
            self.deferrals[charge.charge] = changed_by(deferral, booked, self.now)

    def balances(self, booked: Iterable[Transfer] | None = None) -> Counter[tuple[str, str]]:
        """What all that was booked comes to, or a part of it."""
        balances: Counter[tuple[str, str]] = Counter()
        for transfer in self.booked if booked is None else booked:
            assert transfer.amount_minor > 0
            balances[transfer.debit_account, transfer.currency] += transfer.amount_minor
            balances[transfer.credit_account, transfer.currency] -= transfer.amount_minor
        return balances

    def given_back(self, charge: Charge) -> Counter[str]:
        """As the store reads it."""
        given_back: Counter[str] = Counter()
        for it in self.booked:
            if it.source.startswith(f"{charge.key.name}/refunds/") and "CREDIT_NOTE" in it.kind:
                if it.credit_account == RECEIVABLE:
                    given_back[it.debit_account] += it.amount_minor
                else:
                    given_back[it.credit_account] -= it.amount_minor
        return given_back

    @rule(
        target=charges,
        lines=LINES,
        currency=st.sampled_from(CURRENCIES),
        wanted_credit=st.integers(0, 9000),
        fee=st.integers(0, 60),
        days=st.integers(0, 40),
    )
    def charge(
        self, lines: list[ChargeLine], currency: str, wanted_credit: int, fee: int, days: int
    ) -> Charge:
        amount_minor = sum(line.gross_minor for line in lines)
        charge = CHARGE._replace(
            **self.customer._asdict(),
            charge=ChargeId(f"tea-{self.next()}"),
            amount_minor=amount_minor,
            currency=currency,
            lines=dump_lines(tuple(lines)),
            region_code="DE",
            credit_minor=min(wanted_credit, self.credit[currency], amount_minor),
            state=ChargeState.SUCCEEDED,
            next_attempt_time=None,
        )
        self.charged.append(charge)
        if days:
            day = self.now.date()
            end_date = day + timedelta(days=days - 1)
            charge = charge._replace(period_start_date=day, period_end_date=end_date)
        deferral = defer(charge, net_minor_of(charge), self.now)
        if deferral is not None:
            self.deferrals[charge.charge] = deferral
        self.booked += book_charge(charge, self.now, defers=deferral is not None)
        if charge.credit_minor:
            self.booked.append(book_credit(use_credit(charge, self.now), self.now))
            self.credit[currency] -= charge.credit_minor
        if charge.method_minor:
            self.moves(BalanceType.CHARGE, charge.key.name, charge.method_minor, fee, currency)
        self.left[charge.charge] = amount_minor
        self.left_of_method[charge.charge] = charge.method_minor
        return charge

    @rule(target=refunds, charge=charges, part=st.fractions(0, 1), to_credit=st.booleans())
    def refund(self, charge: Charge, part: Fraction, *, to_credit: bool) -> Any:  # noqa: ANN401
        left_minor = self.left[charge.charge]
        amount_minor = int(left_minor * part)
        if not amount_minor:
            return multiple()
        method_minor = 0 if to_credit else min(amount_minor, self.left_of_method[charge.charge])
        refund = Refund(
            *charge.key,
            RefundId(f"r-{self.next()}"),
            amount_minor=amount_minor,
            currency=charge.currency,
            note=b"",
            state=RefundState.SUCCEEDED,
            idempotency_key="",
            create_time=self.now,
            update_time=self.now,
            credit_minor=amount_minor - method_minor,
        )
        self.refunded.append(refund)
        self.left[charge.charge] -= amount_minor
        self.left_of_method[charge.charge] -= method_minor
        deferral = self.deferrals.get(charge.charge)
        if refund.credit_minor:
            self.booked.append(book_credit(give_refund(refund, self.now), self.now))
            given_back = self.given_back(charge)
            self.books(
                charge, book_refund_to_credit(refund, charge, given_back, self.now, deferral)
            )
            self.credit[charge.currency] += refund.credit_minor
        if method_minor:
            given_back, deferral = self.given_back(charge), self.deferrals.get(charge.charge)
            self.books(charge, book_refund(refund, charge, given_back, self.now, deferral))
            self.moves(BalanceType.REFUND, refund.key.name, -method_minor, 0, charge.currency)
        return charge, refund

    @rule(refunded=consumes(refunds))
    def refund_comes_back(self, refunded: tuple[Charge, Refund]) -> None:
        charge, refund = refunded
        if not refund.method_minor:
            return
        of_refund = [it for it in self.booked if it.source == refund.key.name and comes_back(it)]
        self.books(charge, [reverse(transfer, self.now) for transfer in of_refund])
        self.left[charge.charge] += refund.method_minor
        self.left_of_method[charge.charge] += refund.method_minor
        failure = BalanceType.REFUND_FAILURE
        self.moves(failure, refund.key.name, refund.method_minor, 0, charge.currency)

    @rule(target=disputes, charge=consumes(charges), fee=st.integers(0, 1500))
    def dispute(self, charge: Charge, fee: int) -> Any:  # noqa: ANN401
        """A charge that is disputed is not refunded any more."""
        if not charge.method_minor:
            return multiple()
        dispute = Dispute(
            *charge.key[:2],
            charge.charge,
            DisputeId(f"d-{self.next()}"),
            provider="stripe",
            provider_dispute="dp_1",
            mandate=MandateId(""),
            amount_minor=charge.method_minor,
            currency=charge.currency,
            reason="fraudulent",
            state=DisputeState.NEEDS_RESPONSE,
            open_time=self.now,
            update_time=self.now,
            withdraw_time=self.now,
        )
        deferral = self.deferrals.get(charge.charge)
        given_back = self.given_back(charge)
        self.books(charge, book_withdrawal(dispute, charge, given_back, self.now, deferral))
        self.moves(BalanceType.DISPUTE, dispute.name, -dispute.amount_minor, fee, dispute.currency)
        return charge, dispute

    @rule(disputed=consumes(disputes))
    def dispute_is_won(self, disputed: tuple[Charge, Dispute]) -> None:
        charge, dispute = disputed
        taken = [it for it in self.booked if it.source == dispute.name]
        self.books(charge, book_reinstatement(taken, self.now))
        reversal = BalanceType.DISPUTE_REVERSAL
        self.moves(reversal, dispute.name, dispute.amount_minor, 0, dispute.currency)

    @rule(days=st.integers(1, 20))
    def days_pass(self, days: int) -> None:
        """Each day becomes revenue of what was sold of it."""
        self.now += timedelta(days=days)
        for charge, deferral in self.deferrals.items():
            self.deferrals[charge], booked = recognize(deferral, self.now, 1000)
            self.booked += booked

    @rule(
        kind=st.sampled_from(
            [CreditType.GOODWILL, CreditType.OVERPAYMENT, CreditType.REFUND_KEPT, CreditType.PAYOUT]
        ),
        minor=st.integers(1, 5000),
        currency=st.sampled_from(CURRENCIES),
    )
    def credit_changes(self, kind: CreditType, minor: int, currency: str) -> None:
        signed_minor = -min(minor, self.credit[currency]) if kind is CreditType.PAYOUT else minor
        if not signed_minor:
            return
        name = CreditTransactionId(f"c-{self.next()}")
        change = CreditTransaction(*self.customer, name, kind, signed_minor, currency, "", self.now)
        self.booked.append(book_credit(change, self.now))
        self.credit[currency] += signed_minor
        if kind in {CreditType.OVERPAYMENT, CreditType.PAYOUT}:
            self.bank[currency] += signed_minor

    @precondition(lambda self: self.unpaid)
    @rule()
    def payout(self) -> None:
        """All that the provider holds in each currency is paid out, or taken from the bank."""
        name = f"po_{self.customer.merchant}_{self.next()}"
        shares = []
        for currency in CURRENCIES:
            of_currency = [it for it in self.unpaid if it.currency == currency]
            if not of_currency:
                continue
            sums: Counter[str] = Counter()
            for it in of_currency:
                sums[it.type.split("_")[0]] += it.amount_minor
            share = PayoutShare(
                self.customer.merchant, name, currency,
                sums["CHARGE"], sums["REFUND"], sums["DISPUTE"], 0,
                sum(it.fee_minor for it in of_currency), len(of_currency),
            )  # fmt: skip
            net_minor = sum(it.net_minor for it in of_currency)
            assert share.amount_minor == net_minor
            shares.append(share)
            if net_minor:
                self.booked.append(book_payout(share, self.now, self.now))
                self.bank[currency] += net_minor
        self.payouts.append(Payout(name, self.unpaid, shares))
        self.unpaid = []
        balances = self.balances()
        assert all(balances[PROVIDER_CLEARING, currency] == 0 for currency in CURRENCIES)

    @invariant()
    def every_side_has_what_the_books_say(self) -> None:
        balances = self.balances()
        for currency in CURRENCIES:
            of_currency = {a: minor for (a, c), minor in balances.items() if c == currency}
            assert sum(of_currency.values()) == 0
            assert all(account_type(account) for account in of_currency)
            held = sum(it.net_minor for it in self.unpaid if it.currency == currency)
            assert of_currency.get(PROVIDER_CLEARING, 0) == held
            assert of_currency.get(RECEIVABLE, 0) == 0
            assert of_currency.get(BANK, 0) == self.bank[currency]
            assert -of_currency.get(CUSTOMER_CREDIT, 0) == self.credit[currency]
            of_deferrals = [it for it in self.deferrals.values() if it.currency == currency]
            deferred_minor = sum(it.deferred_minor for it in of_deferrals)
            assert -of_currency.get(DEFERRED_REVENUE, 0) == deferred_minor

    @invariant()
    def each_thing_is_booked_once(self) -> None:
        keys = [(transfer.source, transfer.kind) for transfer in self.booked]
        assert len(keys) == len(set(keys))


TestBooks = Books.TestCase


def test_what_is_mended_has_nothing_left_to_mend() -> None:
    found = Finding(*ANN, FindingKind.DUPLICATE, "a charge", "CHARGE", 900, "EUR", 1800, "EUR")
    entry = mending(found, "1", NOW)
    assert entry is not None
    assert (entry.debit_account, entry.amount_minor) == (PROVIDER_CLEARING, 900)
    lost = found._replace(kind=FindingKind.MISSING_AT_PROVIDER, provider_minor=0)
    back = mending(lost, "2", NOW)
    assert back is not None
    assert (back.credit_account, back.amount_minor) == (PROVIDER_CLEARING, 900)
    for late in (
        found._replace(kind=FindingKind.DIFFERENT_STATE),
        found._replace(provider_currency="USD"),
    ):
        assert mending(late, "3", NOW) is None


def test_a_payout_is_explained_by_its_own_currency() -> None:
    payout = ProviderPayout("po_1", 900, "EUR", NOW)
    share = PayoutShare(ANN.merchant, "po_1", "USD", 900, 0, 0, 0, 0, 1)
    assert payout_state(payout, [share]) == ("MISMATCHED", 900)
    assert payout_state(payout, [share._replace(currency="EUR")]) == ("MATCHED", 0)
