"""Reports say what the ledger says, product by product and tax by tax."""

import asyncio
import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2 as scheduler_events_pb2
from recurring.scheduler.v1 import scheduler_pb2

from services.payments.domain.accounts import DEFERRED_REVENUE, REFUNDS, REVENUE, is_tax_account
from services.payments.domain.charges import Charge
from services.payments.domain.keys import ChargeId, CustomerId, MerchantId, RefundId
from services.payments.domain.ledger import (
    book_charge,
    book_refund,
    book_refund_to_credit,
    comes_back,
    given_back_by,
    reverse,
)
from services.payments.domain.lines import ChargeLine, LineTax, dump_lines, load_lines
from services.payments.domain.refunds import Refund, RefundLine, dump_refund_lines
from services.payments.domain.transitions import ChargeState, RefundState
from services.payments.store import charges as charge_store
from services.payments.store import ledger as ledger_store
from services.payments.store import refunds as refund_store
from services.payments.store import reports as store
from services.payments.store.reports import TaxKey
from services.runtime.auth.call_context import act_for_all
from services.runtime.db.pool import Database, Pool
from services.runtime.errors import Problem
from services.runtime.rpc.conversions import from_money, to_date, to_money
from tests.conftest import KEYRING, ServiceDatabase
from tests.integration.payments.suite import Payments
from tests.unit.payments.strategies import CHARGE

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
SPAN = NOW + timedelta(days=1), NOW + timedelta(days=4)
FIRST_PRODUCT, FIRST_TAX = ("", ""), TaxKey("", "", 0, "", "")
_merchants = itertools.count(1)

TAXES = st.sampled_from(
    [
        LineTax("de-vat", 190_000, 0),
        LineTax("de-food", 70_000, 0),
        LineTax("", 72_500, 0, "Sales tax"),
        LineTax("de-vat", 190_000, 0, "VAT", "REVERSE_CHARGE"),
    ]
)


@st.composite
def charge_lines(draw: st.DrawFn) -> ChargeLine:
    net_minor = draw(st.integers(1, 5000))
    taxes = {(tax.tax_rate, tax.treatment): tax for tax in draw(st.lists(TAXES, max_size=2))}
    if len({tax.tax_rate for tax in taxes.values()}) < len(taxes):
        taxes = dict(itertools.islice(taxes.items(), 1))
    charged = [
        tax if tax.treatment else tax._replace(amount_minor=draw(st.integers(0, 900)))
        for tax in taxes.values()
    ]
    product = draw(st.sampled_from(["tea", "coffee", "milk"]))
    return ChargeLine(product, draw(st.integers(1, 3)), net_minor, tuple(charged), product.title())


class GivenBack(NamedTuple):
    """A refund that is to happen."""

    part: Fraction
    day: int
    to_credit: bool
    names_products: bool
    comes_back: bool


class Sold(NamedTuple):
    """A charge that is to happen, and what is given back of it."""

    lines: list[ChargeLine]
    currency: str
    region_code: str
    day: int
    defers: bool
    refunds: list[GivenBack]


SALES = st.lists(
    st.builds(
        Sold,
        st.lists(charge_lines(), max_size=3),
        st.sampled_from(["EUR", "USD"]),
        st.sampled_from(["DE", "US-CA", ""]),
        st.integers(0, 5),
        st.booleans(),
        st.lists(
            st.builds(
                GivenBack,
                st.fractions(0, 1),
                st.integers(0, 5),
                st.booleans(),
                st.booleans(),
                st.booleans(),
            ),
            max_size=3,
        ),
    ),
    min_size=1,
    max_size=5,
)


class Shop:
    """A merchant to whom things happen, as the service would store and book them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.merchant = MerchantId(f"shop-{next(_merchants)}")

    async def sell(self, number: int, sold: Sold) -> None:
        amount_minor = sum(line.gross_minor for line in sold.lines) or 1250
        charge = CHARGE._replace(
            merchant=self.merchant,
            customer=CustomerId(f"customer-{number % 2}"),
            charge=ChargeId(f"order-{number}"),
            amount_minor=amount_minor,
            currency=sold.currency,
            state=ChargeState.SUCCEEDED,
            next_attempt_time=None,
            lines=dump_lines(tuple(sold.lines)),
            region_code=sold.region_code,
        )
        act_for_all("payments")
        async with self.database.begin() as tx:
            await charge_store.insert(tx, [charge])
            booked = book_charge(charge, NOW + timedelta(days=sold.day), defers=sold.defers)
            await ledger_store.book(tx, list(booked))
            given_back: Counter[str] = Counter()
            for refund_number, wanted in enumerate(sold.refunds):
                await self._give_back(tx, charge, refund_number, wanted, given_back)

    async def _give_back(
        self,
        tx: Any,  # noqa: ANN401 - a transaction
        charge: Charge,
        number: int,
        wanted: GivenBack,
        given_back: Counter[str],
    ) -> None:
        amount_minor = int((charge.amount_minor - given_back.total()) * wanted.part)
        if not amount_minor:
            return
        refund = Refund(
            *charge.key,
            RefundId(f"r{number}"),
            amount_minor=amount_minor,
            currency=charge.currency,
            note=b"",
            state=RefundState.SUCCEEDED,
            idempotency_key="",
            create_time=NOW,
            update_time=NOW,
            credit_minor=amount_minor if wanted.to_credit else 0,
            lines=_refund_lines(charge, amount_minor) if wanted.names_products else "[]",
        )
        await refund_store.insert(tx, refund)
        book = book_refund_to_credit if wanted.to_credit else book_refund
        booked = list(book(refund, charge, given_back, NOW + timedelta(days=wanted.day)))
        await ledger_store.book(tx, booked)
        if wanted.comes_back and not wanted.to_credit:
            back_time = NOW + timedelta(days=wanted.day + 1)
            await ledger_store.book(tx, [reverse(it, back_time) for it in booked if comes_back(it)])
        else:
            given_back.update(given_back_by(booked))

    async def reports(self) -> tuple[list[store.ProductSales], list[store.TaxSummary]]:
        async with self.database.read() as connection:
            return (
                await store.product_sales(connection, self.merchant, SPAN, FIRST_PRODUCT, 1000),
                await store.tax_summaries(connection, self.merchant, SPAN, FIRST_TAX, 1000),
            )

    async def moved(self) -> Counter[tuple[str, str]]:
        """What accounts were credited with, less what they were debited with, within the span."""
        moved: Counter[tuple[str, str]] = Counter()
        async with self.database.read() as connection:
            for sign, moment in zip((1, -1), SPAN, strict=True):
                for account, currency, minor in await ledger_store.balances(
                    connection, self.merchant, moment, ("", ""), 1000
                ):
                    moved[account, currency] += sign * minor
        return moved


def _refund_lines(charge: Charge, amount_minor: int) -> str:
    """An amount over the lines of a charge, from the first."""
    lines = []
    for line in load_lines(charge.lines):
        minor = min(line.gross_minor, amount_minor)
        if minor:
            lines.append(RefundLine(line.product, minor))
        amount_minor -= minor
    return dump_refund_lines(lines)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sales=SALES)
def test_in_any_history_the_sums_of_reports_are_what_the_accounts_moved(
    service_database: ServiceDatabase, sales: list[Sold]
) -> None:
    url = service_database("payments")

    async def run() -> None:
        database = Database(Pool(url, application="test", size=1, keyring=KEYRING))
        shop = Shop(database)
        for number, sold in enumerate(sales):
            await shop.sell(number, sold)
        products, taxes = await shop.reports()
        moved = await shop.moved()
        await database.close()
        check(products, taxes, moved)

    asyncio.run(run())


def check(
    products: list[store.ProductSales],
    taxes: list[store.TaxSummary],
    moved: Counter[tuple[str, str]],
) -> None:
    for currency in ("EUR", "USD"):
        of_currency = [it for it in products if it.currency == currency]
        net_minor = sum(it.net_minor - it.refunded_net_minor for it in of_currency)
        of_sales = (REVENUE, DEFERRED_REVENUE, REFUNDS)
        assert net_minor == sum(moved[account, currency] for account in of_sales)
        tax_minor = sum(it.tax_minor - it.refunded_tax_minor for it in of_currency)
        in_books = {a: m for (a, c), m in moved.items() if c == currency and is_tax_account(a)}
        assert tax_minor == sum(in_books.values())
        by_account: Counter[str] = Counter()
        for it in taxes:
            if it.currency == currency:
                by_account[f"tax-payable-{it.account}"] += it.tax_minor - it.refunded_tax_minor
        assert {a: m for a, m in by_account.items() if m} == {
            a: m for a, m in in_books.items() if m
        }


def line(product: str, net_minor: int, *taxes: tuple[str, int]) -> scheduler_events_pb2.PaymentLine:
    """Two units of a product, with taxes by rate."""
    return scheduler_events_pb2.PaymentLine(
        product=f"merchants/acme/products/{product}",
        quantity=2,
        net_amount=to_money(net_minor, "EUR"),
        taxes=[
            scheduler_pb2.OrderLineTax(
                tax_rate=f"merchants/acme/taxRates/{rate}", amount=to_money(minor, "EUR")
            )
            for rate, minor in taxes
        ],
    )


@pytest.fixture
async def sold(payments: Payments) -> Payments:
    """Coffee and milk for 12.50 EUR, on 31 January at 08:00 UTC."""
    await payments.consent()
    await payments.announce()
    lines = [line("coffee", 1000, ("de-vat", 190)), line("milk", 56, ("de-food", 4))]
    await payments.fall_due(payments.due(lines=lines))
    await payments.work()
    return payments


def sales_of(
    start: date,
    end: date,
    **fields: Any,  # noqa: ANN401
) -> payments_pb2.ListProductSalesRequest:
    return payments_pb2.ListProductSalesRequest(
        parent="merchants/acme", start_date=to_date(start), end_date=to_date(end), **fields
    )


def taxes_of(start: date, end: date, **fields: Any) -> payments_pb2.ListTaxSummariesRequest:  # noqa: ANN401
    return payments_pb2.ListTaxSummariesRequest(
        parent="merchants/acme", start_date=to_date(start), end_date=to_date(end), **fields
    )


DAY = date(2026, 1, 31)


def minors(message: Any, *fields: str) -> list[int]:  # noqa: ANN401
    return [from_money(getattr(message, field)).amount_minor for field in fields]


async def test_a_refund_that_names_a_product_gives_back_that_one(sold: Payments) -> None:
    refund = payments_pb2.CreateRefundRequest(
        parent="merchants/acme/customers/ann/charges/coffee-1", refund_id="sour"
    )
    refund.refund.lines.add(product_id="milk")
    await sold.call(refund)
    await sold.work()
    answer = await sold.call(sales_of(DAY, DAY))
    coffee, milk = answer.product_sales
    fields = ("net_amount", "tax_amount", "refunded_net_amount", "refunded_tax_amount")
    assert minors(coffee, *fields) == [1000, 190, 0, 0]
    assert [coffee.product, milk.product] == [
        f"merchants/acme/products/{product}" for product in ("coffee", "milk")
    ]
    assert (milk.quantity, milk.charge_count) == (2, 1)
    assert minors(milk, *fields)[:2] == [56, 4]
    assert sum(minors(milk, *fields)[2:]) == 60


async def test_a_tax_is_reported_by_destination_and_rate_with_what_it_is_due_on(
    sold: Payments,
) -> None:
    await sold.refund("all")
    await sold.work()
    summaries = (await sold.call(taxes_of(DAY, DAY))).tax_summaries
    assert [(it.region_code, it.tax_rate, it.account.rpartition("/")[2]) for it in summaries] == [
        ("DE", f"merchants/acme/taxRates/{rate}", f"tax-payable-{rate}")
        for rate in ("de-food", "de-vat")
    ]
    fields = ("net_amount", "tax_amount", "refunded_net_amount", "refunded_tax_amount")
    assert [minors(it, *fields) for it in summaries] == [[56, 4, 56, 4], [1000, 190, 1000, 190]]


async def test_days_are_those_of_the_merchants_zone_unless_another_is_named(sold: Payments) -> None:
    settings_request = payments_pb2.UpdateDocumentSettingsRequest(
        document_settings=payments_pb2.DocumentSettings(
            name="merchants/acme/documentSettings",
            seller=payments_pb2.Seller(display_name="Tea & Co"),
            payment_documents=payments_pb2.DocumentSettings.NO_DOCUMENTS,
            time_zone="Pacific/Honolulu",
        )
    )
    await sold.call(settings_request)
    # At 08:00 UTC it is the day before in Hawaii.
    for day, count in ((DAY, 0), (DAY - timedelta(days=1), 2)):
        assert len((await sold.call(sales_of(day, day))).product_sales) == count
    named = await sold.call(sales_of(DAY, DAY, time_zone="Europe/Berlin"))
    assert len(named.product_sales) == 2


async def test_a_report_is_of_the_month_until_today_unless_days_are_named(sold: Payments) -> None:
    answer = await sold.call(payments_pb2.ListProductSalesRequest(parent="merchants/acme"))
    assert (answer.start_date, answer.end_date) == (to_date(date(2026, 1, 1)), to_date(DAY))
    assert (answer.time_zone, len(answer.product_sales)) == ("UTC", 2)


async def test_reports_are_read_page_by_page(sold: Payments) -> None:
    for request, field in (
        (sales_of(DAY, DAY, page_size=1), "product_sales"),
        (taxes_of(DAY, DAY, page_size=1), "tax_summaries"),
    ):
        first = await sold.call(request)
        request.page_token = first.next_page_token
        second = await sold.call(request)
        whole = await sold.call(
            type(request)(parent="merchants/acme", start_date=to_date(DAY), end_date=to_date(DAY))
        )
        assert [*getattr(first, field), *getattr(second, field)] == list(getattr(whole, field))
        assert second.next_page_token == ""


@pytest.mark.parametrize(
    ("start", "end", "zone", "field"),
    [
        (DAY, DAY - timedelta(days=1), "", "end_date"),
        (DAY, DAY + timedelta(days=367), "", "end_date"),
        (date(1969, 12, 31), DAY, "", "start_date"),
        (DAY, date(2101, 1, 1), "", "end_date"),
        (DAY, DAY, "Middle/Earth", "time_zone"),
    ],
)
async def test_a_range_that_is_none_is_refused(
    payments: Payments, start: date, end: date, zone: str, field: str
) -> None:
    for request in (sales_of(start, end, time_zone=zone), taxes_of(start, end, time_zone=zone)):
        with pytest.raises(Problem) as refused:
            await payments.call(request)
        assert [violation.field for violation in refused.value.violations] == [field]
