"""The provider's balance: what each movement of money left of it, and what it has paid out. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from services.payments.domain.accounts import BANK, FEES, PROVIDER_CLEARING
from services.payments.domain.keys import CustomerId, MerchantId, derived_key
from services.payments.domain.transfers import Transfer

# Nobody's of whom we know: the provider's account may be used by others, too.
NOBODY = MerchantId("")
# A payout is of all customers.
NO_CUSTOMER = CustomerId("")


class BalanceType(StrEnum):
    """What moved the money."""

    CHARGE = "CHARGE"
    REFUND = "REFUND"
    REFUND_FAILURE = "REFUND_FAILURE"
    DISPUTE = "DISPUTE"
    DISPUTE_REVERSAL = "DISPUTE_REVERSAL"
    OTHER = "OTHER"


class BalanceTransaction(NamedTuple):
    """A movement of the provider's balance, in minor units of its currency."""

    # Empty where it is none of a charge of ours.
    merchant: MerchantId
    customer: CustomerId
    # The charge or refund that it is about, by our name; of others the provider's id, or empty.
    source: str
    # The provider's id.
    balance_transaction: str
    type: BalanceType
    # Negative: it left the balance.
    amount_minor: int
    # What the provider kept for it.
    fee_minor: int
    currency: str
    create_time: datetime
    # What it was before the provider converted it to the currency of its balance; None: it was not.
    converted_minor: int | None = None
    converted_currency: str | None = None

    @property
    def net_minor(self) -> int:
        """What it changed the balance by."""
        return self.amount_minor - self.fee_minor

    @property
    def name(self) -> str:
        """What the books call it."""
        key = derived_key("balance-transaction", self.balance_transaction)
        return f"merchants/{self.merchant}/balanceTransactions/{key}"


class ProviderPayout(NamedTuple):
    """What the provider has paid out at once, for all merchants of its account."""

    payout: str
    amount_minor: int
    currency: str
    arrive_time: datetime


class PayoutShare(NamedTuple):
    """What a payout brought to one merchant."""

    merchant: MerchantId
    payout: str
    currency: str
    # What charges brought, and refunds, disputes and all else took; without fees.
    charges_minor: int
    refunds_minor: int
    disputes_minor: int
    others_minor: int
    fees_minor: int
    transaction_count: int

    @property
    def amount_minor(self) -> int:
        """What the merchant gets."""
        moved_minor = self.charges_minor + self.refunds_minor + self.disputes_minor
        return moved_minor + self.others_minor - self.fees_minor

    @property
    def name(self) -> str:
        """What the books call it."""
        return f"merchants/{self.merchant}/payouts/{self.share}"

    @property
    def share(self) -> str:
        """What callers name it by: a payout may bring several currencies."""
        return derived_key("payout", self.payout, self.currency)


class Owner(NamedTuple):
    """Whose a payment or refund of the provider's is, and of which charge or refund of ours."""

    merchant: MerchantId
    customer: CustomerId
    source: str


def attributed(
    transactions: Sequence[BalanceTransaction],
    owners: Mapping[str, Owner],
    listed_charges: Mapping[str, str],
) -> list[BalanceTransaction]:
    """Transactions of a provider that names its own payments alone, with whose they are.

    `owners` are by the provider's ids; `listed_charges` has which transaction brought each charge, by
    the charge's name. Of one that was brought before, the bank had taken the money back meanwhile.
    """
    brought = dict(listed_charges)
    found = []
    for it in transactions:
        owner = owners.get(it.source) if it.merchant == NOBODY else None
        if owner is None:
            found.append(it)
            continue
        is_charge = it.type is BalanceType.CHARGE
        first = brought.setdefault(owner.source, it.balance_transaction) if is_charge else ""
        is_again = is_charge and first != it.balance_transaction
        found.append(
            it._replace(
                merchant=owner.merchant,
                customer=owner.customer,
                source=owner.source,
                type=BalanceType.DISPUTE_REVERSAL if is_again else it.type,
            )
        )
    return found


def payout_state(payout: ProviderPayout, shares: Sequence[PayoutShare]) -> tuple[str, int]:
    """Whether a payout is what its transactions come to, and by how much it is more than that."""
    # What is of another currency explains nothing of it.
    explained_minor = sum(it.amount_minor for it in shares if it.currency == payout.currency)
    difference_minor = payout.amount_minor - explained_minor
    return ("MISMATCHED" if difference_minor else "MATCHED"), difference_minor


def book_fee(transaction: BalanceTransaction, now: datetime) -> Transfer:
    """What the provider kept of a charge, or gave back."""
    kept = transaction.fee_minor > 0
    return Transfer(
        transaction.merchant,
        transaction.customer,
        transaction.name,
        "FEE",
        FEES if kept else PROVIDER_CLEARING,
        PROVIDER_CLEARING if kept else FEES,
        abs(transaction.fee_minor),
        transaction.currency,
        now,
        transaction.create_time,
    )


def book_payout(share: PayoutShare, arrive_time: datetime, now: datetime) -> Transfer:
    """What the provider held for a merchant is in the bank, or was taken from there."""
    paid = share.amount_minor > 0
    return Transfer(
        share.merchant,
        NO_CUSTOMER,
        share.name,
        f"PAYOUT {share.currency}",
        BANK if paid else PROVIDER_CLEARING,
        PROVIDER_CLEARING if paid else BANK,
        abs(share.amount_minor),
        share.currency,
        now,
        arrive_time,
    )
