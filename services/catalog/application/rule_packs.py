"""Rule packs, as they are for a merchant."""

from collections.abc import Sequence

from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.domain.rule_packs import MerchantRulePack, Rule, RulePackKey
from services.catalog.names import RULE_PACK
from services.catalog.store import rule_packs
from services.runtime.db.pool import Connection
from services.runtime.errors import not_found
from services.runtime.mutations import Applied
from services.runtime.rpc.conversions import check_etag


async def existing(connection: Connection, key: RulePackKey) -> MerchantRulePack:
    """A pack. Raises NOT_FOUND RULE_PACK_NOT_FOUND."""
    _check_known(key)
    packs = await rule_packs.of_merchant(connection, key.merchant)
    return next(pack for pack in packs if pack.key == key)


async def change(
    tx: Connection,
    key: RulePackKey,
    extra_regions: Sequence[str],
    rules: Sequence[Rule],
    present_etag: str,
) -> Applied[MerchantRulePack]:
    """Change what a merchant adds to a pack, as a whole.

    Raises NOT_FOUND RULE_PACK_NOT_FOUND, ABORTED ETAG_MISMATCH.
    """
    _check_known(key)
    present = await rule_packs.locked(tx, key)
    check_etag(present_etag, present.version, RULE_PACK.format(*key))
    return Applied(await rule_packs.change(tx, present.changed(extra_regions, rules)), present)


def _check_known(key: RulePackKey) -> None:
    if key.rule_pack not in RULE_PACKS:
        raise not_found("RULE_PACK_NOT_FOUND", RULE_PACK.format(*key))
