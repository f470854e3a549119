"""Who buys, as documents name them. Pure."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from services.payments.domain.keys import CustomerId, CustomerKey, MerchantId

# From the end of the year of a document: the longest that tax laws of large markets have invoices kept
# (France, Italy: 10; Germany, § 147 AO and § 14b UStG: 8; Austria: 7; the United Kingdom: 6).
RETENTION_YEARS = 10


class Buyer(NamedTuple):
    """Who buys."""

    display_name: str
    address_lines: tuple[str, ...]
    # ISO 3166-1; empty: unknown.
    region_code: str
    tax_id: str


@dataclass(frozen=True, slots=True)
class BillingDetails:
    """What a customer's documents say of who buys."""

    merchant: MerchantId
    customer: CustomerId
    # None: nothing was set.
    buyer: Buyer | None = None
    version: int = 0

    @property
    def key(self) -> CustomerKey:
        """Whose they are."""
        return CustomerKey(self.merchant, self.customer)


class YearKey(NamedTuple):
    """A customer's documents of a year (UTC)."""

    merchant: MerchantId
    customer: CustomerId
    year: int


def first_kept_year(now: datetime) -> int:
    """The first year whose documents are still kept with their buyers."""
    return now.astimezone(UTC).year - RETENTION_YEARS


def retention_end(year: int) -> datetime:
    """From when on documents of a year need not name their buyers any more."""
    return datetime(year + RETENTION_YEARS + 1, 1, 1, tzinfo=UTC)


def dump_buyer(buyer: Buyer) -> str:
    """A buyer as JSON."""
    return json.dumps(buyer._asdict(), ensure_ascii=False, separators=(",", ":"))


def load_buyer(stored: str) -> Buyer:
    """A buyer from JSON."""
    fields = json.loads(stored)
    return Buyer(**fields | {"address_lines": tuple(fields["address_lines"])})
