"""What payments publishes of its provider, for a catalog that runs without it."""

from services.catalog.domain.prices import AmountSteps
from services.payments.domain.provider_amounts import amount_rules


class ProviderTable:
    """The rules for amounts, without the call."""

    async def steps(self) -> AmountSteps:
        """By currency, of what an amount is a multiple."""
        return {rule.currency: rule.step_minor for rule in amount_rules()}
