"""Which provider takes a merchant's new payment methods: chosen by the merchant."""

from services.payments.clients.providers import Providers
from services.payments.domain.payment_methods import PaymentMethodKind
from services.payments.domain.payment_routing import PaymentRouting
from services.payments.names import PAYMENT_ROUTING
from services.payments.store import payment_routing as store
from services.runtime.db.pool import Connection
from services.runtime.errors import Violations
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag

_FIELDS = {
    PaymentMethodKind.CARD: "payment_routing.card_provider",
    PaymentMethodKind.BANK_DEBIT: "payment_routing.bank_debit_provider",
}


def check(providers: Providers, wanted: PaymentRouting) -> None:
    """Check that each provider is there and takes the kind. Raises INVALID_ARGUMENT."""
    violations = Violations()
    for kind, field in _FIELDS.items():
        takers = [provider.name for provider in providers if kind in provider.capabilities.kinds]
        chosen = wanted.chosen(kind)
        violations.require(
            field,
            f"must be one of {', '.join(takers)}, or left out",
            met=not chosen or chosen in takers,
        )
    violations.check()


async def change(
    tx: Connection, wanted: PaymentRouting, present_etag: str
) -> Applied[PaymentRouting]:
    """Change a merchant's choice as a whole. Raises ABORTED ETAG_MISMATCH."""
    present = await store.get(tx, wanted.merchant, lock=True)
    check_etag(present_etag, present.version, PAYMENT_ROUTING.format(wanted.merchant))
    return Applied(await store.change(tx, wanted), present)
