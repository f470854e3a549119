"""What is shown of a document, and where: the same for every format. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from services.payments.clients.rendering.words import RIGHT_TO_LEFT, WORDS, Words, phrase
from services.payments.domain.buyers import Buyer
from services.payments.domain.documents import Document, DocumentLine, DocumentType, TaxTotal
from services.payments.domain.keys import CustomerId
from services.runtime.money import minor_digits

PPM = 1_000_000
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_LEFT_TO_RIGHT_MARK = "\u200e"
_CREDITING = {DocumentType.CREDIT_NOTE}
# What a fact is called, by the type of the document.
_FACTS = {
    DocumentType.INVOICE: "paid_on",
    DocumentType.RECEIPT: "paid_on",
    DocumentType.CREDIT_NOTE: "given_back_on",
    DocumentType.DEBIT_NOTE: "came_back_on",
}
# How the payment method took part in it.
_METHODS = {
    DocumentType.INVOICE: "by_method",
    DocumentType.RECEIPT: "by_method",
    DocumentType.CREDIT_NOTE: "to_method",
    DocumentType.DEBIT_NOTE: "from_method",
}
# Of taxes that are named and not charged.
_NOT_CHARGED = ("REVERSE_CHARGE", "EXEMPT")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    title: str
    details: tuple[str, ...]
    quantity: str
    net: str
    amount: str


@dataclass(frozen=True, slots=True)
class Page:
    """A document in one language, as texts."""

    language_code: str
    direction: str
    title: str
    number: str
    seller_name: str
    seller_lines: tuple[str, ...]
    customer_label: str
    customer_lines: tuple[str, ...]
    # Pairs of a label and what it names.
    fields: tuple[tuple[str, str], ...]
    headings: tuple[str, str, str, str]
    rows: tuple[Row, ...]
    totals: tuple[tuple[str, str], ...]
    total: tuple[str, str]
    payments: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    references: tuple[tuple[str, str], ...]
    footer_lines: tuple[str, ...]
    # With the number of the page, and how many there are.
    page_of: str


def page_of(document: Document, language_code: str, buyer: Buyer | None = None) -> Page:
    """A document in a language."""
    return _Writer(document, language_code, buyer).page()


@cache
def _locale(language_code: str) -> Locale:
    return Locale.parse(language_code)


class _Writer:
    def __init__(self, document: Document, language_code: str, buyer: Buyer | None) -> None:
        self._document = document
        self._buyer = buyer
        self._language = language_code
        self._locale = _locale(language_code)
        self._words: Words = WORDS[language_code]

    def page(self) -> Page:
        document, words = self._document, self._words
        seller, content = document.seller, document.content
        tax_id = [phrase(words, "tax_id", isolated(seller.tax_id))] if seller.tax_id else []
        return Page(
            self._language,
            "rtl" if self._language in RIGHT_TO_LEFT else "ltr",
            words[document.type],
            document.number,
            isolated(seller.name),
            (*map(isolated, seller.address_lines), *tax_id),
            words["customer"],
            tuple(self._customer()),
            tuple(self._fields()),
            (words["item"], words["quantity"], words["net"], words["amount"]),
            tuple(map(self._row, content.lines)),
            tuple(self._totals()),
            (words["total"], self._money(content.amount_minor)),
            tuple(self._payments()),
            tuple(self._notes()),
            tuple(self._references()),
            tuple(map(isolated, document.footer.splitlines())),
            words["page"],
        )

    def _money(self, amount_minor: int) -> str:
        return money_text(amount_minor, self._document.currency, self._locale)

    def _date(self, day: date) -> str:
        return format_date(day, format="long", locale=self._locale)

    def _customer(self) -> Iterator[str]:
        """Who buys: by name and address, or by the id alone; and where it is delivered to."""
        buyer, region_code = self._buyer, self._document.region_code
        yield from buyer_lines(self._document.customer, buyer, self._words, self._locale)
        if region_code and (buyer is None or buyer.region_code != region_code):
            yield phrase(self._words, "region", region_name(region_code, self._locale))

    def _fields(self) -> Iterator[tuple[str, str]]:
        document, words = self._document, self._words
        fact_date = document.fact_time.astimezone(ZoneInfo(document.time_zone)).date()
        yield words["number"], isolated(document.number)
        yield words["issued"], self._date(document.issue_date)
        yield words[_FACTS[document.type]], self._date(fact_date)
        if document.corrected:
            # The id is the number in small letters.
            yield words["corrects"], isolated(document.corrected.upper())
        yield words["order"], isolated(_last(document.order_name, 3))

    def _row(self, line: DocumentLine) -> Row:
        quantity = format_decimal(line.quantity, locale=self._locale) if line.quantity else ""
        net = "" if line.net_minor is None else self._money(line.net_minor)
        return Row(
            isolated(line.title),
            tuple(self._details(line)),
            quantity,
            net,
            self._money(line.amount_minor),
        )

    def _details(self, line: DocumentLine) -> Iterator[str]:
        """How the price came about; nothing where it is the list price."""
        words = self._words
        if line.list_minor is None or not line.adjustments:
            return
        yield phrase(words, "list_price", self._money(line.list_minor))
        for step in line.adjustments:
            kind = words.get(step.kind, step.kind)
            named = phrase(words, "named", kind, isolated(step.title)) if step.title else kind
            yield phrase(words, "labelled", named, self._money(step.amount_minor))
        saved_minor = -sum(step.amount_minor for step in line.adjustments)
        if saved_minor > 0:
            yield phrase(words, "saved", self._money(saved_minor))

    def _totals(self) -> Iterator[tuple[str, str]]:
        yield self._words["total_net"], self._money(self._document.content.net_minor)
        for tax in self._document.content.taxes:
            yield self._tax(tax), self._money(tax.amount_minor)

    def _tax(self, tax: TaxTotal) -> str:
        # In integers until here; a rate of 0.8375 % has all of its digits.
        rate = Decimal(tax.rate_ppm) / PPM
        percent = format_percent(rate, locale=self._locale, decimal_quantization=False)
        title = isolated(tax.title) if tax.title else self._words["tax"]
        named = f"{title} {percent}"
        return phrase(self._words, "tax_on", named, self._money(tax.net_minor))

    def _payments(self) -> Iterator[tuple[str, str]]:
        document, content, words = self._document, self._document.content, self._words
        credit_minor = content.credit_minor
        if credit_minor:
            credit = "to_credit" if document.type in _CREDITING else "by_credit"
            yield words[credit], self._money(credit_minor)
        if method_minor := content.amount_minor - credit_minor:
            yield (
                phrase(words, _METHODS[document.type], self._method()),
                self._money(method_minor),
            )

    def _method(self) -> str:
        document = self._document
        brand = isolated(document.brand.replace("_", " ").title())
        return phrase(self._words, "ending", brand, document.last4) if document.last4 else brand

    def _notes(self) -> Iterator[str]:
        treatments = {tax.treatment for tax in self._document.content.taxes}
        for treatment in _NOT_CHARGED:
            if treatment in treatments:
                yield self._words[treatment]
        if self._document.type in {DocumentType.INVOICE, DocumentType.RECEIPT}:
            yield self._words["paid"]

    def _references(self) -> Iterator[tuple[str, str]]:
        """What the payment can be found by."""
        document, words = self._document, self._words
        if self._buyer is not None:
            yield words["customer"], isolated(document.customer)
        yield words["payment"], isolated(document.charge)
        if document.mandate:
            yield words["mandate"], isolated(_last(document.mandate, 1))
        if document.notice:
            yield words["notice"], isolated(_last(document.notice, 1))


def buyer_lines(
    customer: CustomerId, buyer: Buyer | None, words: Words, locale: Locale
) -> Iterator[str]:
    """Who buys: by name and address, or by the id alone."""
    if buyer is None:
        yield isolated(customer)
        return
    yield from map(isolated, (buyer.display_name, *buyer.address_lines))
    if buyer.region_code:
        yield region_name(buyer.region_code, locale)
    if buyer.tax_id:
        yield phrase(words, "tax_id", isolated(buyer.tax_id))


def region_name(region_code: str, locale: Locale) -> str:
    """A country, with its part if there is one."""
    country, _, part = region_code.partition("-")
    name = locale.territories.get(country, country)
    return f"{name} ({part})" if part else name


def money_text(amount_minor: int, currency: str, locale: Locale) -> str:
    """An amount in a language."""
    amount = Decimal(amount_minor).scaleb(-minor_digits(currency))
    text = format_currency(amount, currency, locale=locale)
    # As CLDR writes the sign in Arabic, left of the number; Babel leaves the mark out.
    return text.replace("-", f"{_LEFT_TO_RIGHT_MARK}-") if locale.text_direction == "rtl" else text


def isolated(text: str) -> str:
    """A text of somebody else's, whose direction is its own and moves nothing around it (UAX #9)."""
    return f"{_FIRST_STRONG_ISOLATE}{text}{_POP_ISOLATE}"


def _last(name: str, count: int) -> str:
    """The last ids of a resource name, without what lies between two of them."""
    ids = name.split("/")[-count:]
    return "/".join(ids[::2])
