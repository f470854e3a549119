"""The methods about rule packs."""

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import rule_pack_messages as rule_messages
from services.catalog.api.methods.base import Methods
from services.catalog.application import rule_packs
from services.catalog.domain.rule_packs import binding
from services.catalog.names import MERCHANT, RULE_PACK
from services.catalog.store import rule_packs as rule_pack_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class RulePackMethods(Methods):
    """Methods about rule packs."""

    async def ListRulePacks(
        self, request: catalog_pb2.ListRulePacksRequest, _context: object
    ) -> catalog_pb2.ListRulePacksResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            packs = await rule_pack_store.of_merchant(connection, merchant)
        listed = [pack for pack in packs if pack.pack.id > after][: page.limit]
        shown, token = page.cut(
            listed, rule_messages.rule_pack_message, lambda pack: (pack.pack.id,)
        )
        return catalog_pb2.ListRulePacksResponse(rule_packs=shown, next_page_token=token)

    async def GetRulePack(
        self, request: catalog_pb2.GetRulePackRequest, _context: object
    ) -> catalog_pb2.RulePack:
        key = read_name(RULE_PACK, request.name)
        async with self._database.read() as connection:
            return rule_messages.rule_pack_message(await rule_packs.existing(connection, key))

    async def UpdateRulePack(
        self, request: catalog_pb2.UpdateRulePackRequest, _context: object
    ) -> catalog_pb2.RulePack:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.RulePack,
            rule_messages.rule_pack_message,
            lambda tx: rule_packs.change(tx, *rule_messages.read_change(request.rule_pack)),
        )

    async def GetBindingRules(
        self, request: catalog_pb2.GetBindingRulesRequest, _context: object
    ) -> catalog_pb2.BindingRules:
        merchant = read_name(MERCHANT, request.parent)
        day = rule_messages.read_day(request, self._clock.now().date())
        scheme = rule_messages.read_scheme(request.payment_scheme)
        async with self._database.read() as connection:
            packs = await rule_pack_store.of_merchant(connection, merchant)
        return rule_messages.binding_message(binding(packs, request.region_code, scheme, day))
