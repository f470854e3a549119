"""Questions to the catalog about rule packs."""

from collections.abc import Sequence

import grpc
from recurring.catalog.v1 import catalog_pb2, catalog_pb2_grpc

from services.payments.clients.charge_rules import read_rule, scheme_value
from services.payments.domain.keys import MerchantId
from services.payments.domain.rules import ChargeRule, PaymentScheme


class RulePacks:
    """Asks the catalog which rules bind; that charges are bound by comes with each charge."""

    def __init__(self, catalog: grpc.aio.Channel) -> None:
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(catalog)

    async def binding(
        self, merchant: MerchantId, region_code: str, scheme: PaymentScheme | None
    ) -> Sequence[ChargeRule]:
        """The rules that bind today where a customer is, by what they pay with."""
        request = catalog_pb2.GetBindingRulesRequest(
            parent=f"merchants/{merchant}",
            region_code=region_code,
            payment_scheme=scheme_value(scheme),
        )
        bound = await self._catalog.GetBindingRules(request)
        return [read_rule(rule) for rule in bound.rules]
