"""Which provider takes a merchant's new payment methods. Pure."""

from dataclasses import dataclass

from services.payments.domain.keys import MerchantId
from services.payments.domain.payment_methods import PaymentMethodKind


@dataclass(frozen=True, slots=True)
class PaymentRouting:
    """What a merchant has chosen; each merchant has one."""

    merchant: MerchantId
    # Empty: the deployment's own choice.
    card_provider: str = ""
    bank_debit_provider: str = ""
    version: int = 1

    def chosen(self, kind: PaymentMethodKind) -> str:
        """The provider for a kind; empty where none was chosen."""
        return {
            PaymentMethodKind.CARD: self.card_provider,
            PaymentMethodKind.BANK_DEBIT: self.bank_debit_provider,
        }[kind]
