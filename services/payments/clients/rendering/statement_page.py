"""What is shown of a statement, in the places that documents have. Pure."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_interval, format_skeleton

from services.payments.clients.rendering.page import Page, Row, buyer_lines, isolated, money_text
from services.payments.clients.rendering.statement_words import STATEMENT_WORDS
from services.payments.clients.rendering.words import RIGHT_TO_LEFT, Words, phrase
from services.payments.domain.documents import Seller
from services.payments.domain.statements import Statement, StatementSums

ONE_DAY = timedelta(days=1)


def statement_page(statement: Statement, seller: Seller, footer: str, language_code: str) -> Page:
    """A statement in a language."""
    return _Writer(statement, seller, footer, language_code).page()


class _Writer:
    def __init__(
        self, statement: Statement, seller: Seller, footer: str, language_code: str
    ) -> None:
        self._statement = statement
        self._seller = seller
        self._footer = footer
        self._language = language_code
        self._locale = Locale.parse(language_code)
        self._words: Words = STATEMENT_WORDS[language_code]

    def page(self) -> Page:
        words, statement, seller = self._words, self._statement, self._seller
        is_month = statement.period.month is not None
        tax_id = [phrase(words, "tax_id", isolated(seller.tax_id))] if seller.tax_id else []
        headings = ("entry", "date", "amount", "balance") if is_month else (
            "month", "", "change", "balance",
        )  # fmt: skip
        closing = [self._money(it.closing_minor, it.currency) for it in statement.sums]
        return Page(
            self._language,
            "rtl" if self._language in RIGHT_TO_LEFT else "ltr",
            words["STATEMENT" if is_month else "ANNUAL_STATEMENT"],
            isolated(statement.period.id),
            isolated(seller.name),
            (*map(isolated, seller.address_lines), *tax_id),
            words["customer"],
            tuple(buyer_lines(statement.customer, statement.buyer, words, self._locale)),
            ((words["period"], self._period()),),
            tuple(words[key] if key else "" for key in headings),  # type: ignore[arg-type]
            tuple(self._entries() if is_month else self._months()),
            tuple(self._totals()),
            (words["closing"], " · ".join(closing) or "0"),
            tuple(
                (words["due"], self._money(it.due_minor, it.currency))
                for it in statement.sums
                if it.due_minor
            ),
            tuple(self._notes()),
            ((words["customer"], isolated(statement.customer)),) if statement.buyer else (),
            tuple(map(isolated, self._footer.splitlines())),
            words["page"],
        )

    def _period(self) -> str:
        period = self._statement.period
        end_date = period.until_date - ONE_DAY
        return format_interval(period.start_date, end_date, "yMMMd", locale=self._locale)

    def _date(self, day: date) -> str:
        return format_date(day, format="medium", locale=self._locale)

    def _money(self, amount_minor: int, currency: str) -> str:
        return money_text(amount_minor, currency, self._locale)

    def _entries(self) -> Iterator[Row]:
        zone = ZoneInfo(self._statement.time_zone)
        for it in self._statement.entries:
            yield Row(
                self._words[it.type],
                (isolated(it.document or it.source.rpartition("/")[2]),),
                self._date(it.book_time.astimezone(zone).date()),
                self._money(it.amount_minor, it.currency),
                self._money(it.balance_minor, it.currency),
            )

    def _months(self) -> Iterator[Row]:
        for month in self._statement.months:
            name = format_skeleton("yMMMM", month.start_date, locale=self._locale)
            for it in month.sums:
                yield Row(
                    name,
                    tuple(phrase(self._words, "labelled", *moved) for moved in self._moved(it)),
                    "",
                    self._money(it.closing_minor - it.opening_minor, it.currency),
                    self._money(it.closing_minor, it.currency),
                )

    def _totals(self) -> Iterator[tuple[str, str]]:
        for it in self._statement.sums:
            yield self._words["opening"], self._money(it.opening_minor, it.currency)
            yield from self._moved(it)

    def _moved(self, sums: StatementSums) -> Sequence[tuple[str, str]]:
        """What happened, as far as anything did, so that a reader can add it up."""
        minors = {
            "invoiced": sums.invoiced_minor,
            "paid_sum": -sums.paid_minor,
            "credited": -sums.credited_minor,
            "refunded": sums.refunded_minor,
        }
        return [
            (self._words[key], self._money(minor, sums.currency))
            for key, minor in minors.items()
            if minor
        ]

    def _notes(self) -> Iterator[str]:
        statement, words = self._statement, self._words
        if not statement.entries and not statement.months:
            yield words["nothing"]
        if any(it.closing_minor < 0 or it.opening_minor < 0 for it in statement.sums):
            yield words["favour"]
        if not statement.is_complete:
            yield words["so_far"]
