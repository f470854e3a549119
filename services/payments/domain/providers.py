"""What payment providers can do, as each says of itself. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.payments.domain.payment_methods import PaymentMethodKind
from services.payments.domain.provider_amounts import AmountRule


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do."""

    kinds: frozenset[PaymentMethodKind]
    # By currency, the amounts that it takes: units, steps, the least and the most.
    amount_rules: Sequence[AmountRule]
    # Whether it charges while the customer is away.
    off_session: bool
    refunds: bool
    # Whether a bank decides over days, so that attempts are PENDING at first.
    decides_later: bool
    # Whether it reports by itself what came of a payment.
    webhooks: bool

    @property
    def currencies(self) -> frozenset[str]:
        """The currencies that it charges in."""
        return frozenset(rule.currency for rule in self.amount_rules)
