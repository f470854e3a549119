"""The payment providers of a deployment, and which of them a payment method belongs to."""

from collections.abc import Iterator, Sequence

from services.payments.clients.provider import Provider
from services.payments.domain.payment_methods import PaymentMethodKind


class Providers:
    """Finds providers by name, and the one that registers a new payment method."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        """The first is the one that takes what nobody says the kind of."""
        self._by_name = {provider.name: provider for provider in providers}

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._by_name.values())

    @property
    def default(self) -> Provider:
        """What takes a token of which neither kind nor provider is said."""
        return next(iter(self))

    @property
    def names(self) -> list[str]:
        """How they are called."""
        return list(self._by_name)

    def get(self, name: str) -> Provider | None:
        """A provider; None: the settings of this process name no such one."""
        return self._by_name.get(name)

    def of_kind(self, kind: PaymentMethodKind) -> Provider | None:
        """What takes a kind: the one that takes the fewest others, the first of equal ones."""
        takers = [provider for provider in self if kind in provider.capabilities.kinds]
        return min(takers, key=lambda provider: len(provider.capabilities.kinds), default=None)
