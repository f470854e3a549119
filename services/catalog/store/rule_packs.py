"""Rows of what merchants add to rule packs."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from services.catalog.domain.increase_notices import MerchantRules
from services.catalog.domain.products import MerchantId
from services.catalog.domain.rule_pack_data import RULE_PACKS
from services.catalog.domain.rule_packs import (
    OWN,
    ConfirmationAbove,
    DebitNoticeContent,
    DebitNoticeLead,
    Element,
    MandateLapse,
    MandateTerms,
    MerchantRulePack,
    OfferEndNotice,
    PriceIncreaseNotice,
    ReceiptContent,
    RefundRight,
    Reminder,
    Requirement,
    RetryLimit,
    Rule,
    RulePackId,
    RulePackKey,
)
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query

_CACHED_RULES = 1000
# As they are named in rows.
_KINDS: dict[str, type[Requirement]] = {
    kind.__name__: kind
    for kind in (
        ConfirmationAbove, DebitNoticeContent, DebitNoticeLead, MandateLapse, MandateTerms,
        OfferEndNotice, PriceIncreaseNotice, ReceiptContent, RefundRight, Reminder, RetryLimit,
    )
}  # fmt: skip


class _Row(NamedTuple):
    rule_pack: RulePackId
    extra_regions: list[str]
    rules: str
    version: int


_OF_MERCHANT = Query(
    """
    SELECT rule_pack, extra_regions, rules::text, version FROM rule_packs
    WHERE merchant = :merchant
    """,
    _Row,
)

# There must be a row to lock.
_ENSURE = Command("""
    INSERT INTO rule_packs (merchant, rule_pack) VALUES (:merchant, :rule_pack)
    ON CONFLICT (merchant, rule_pack) DO NOTHING
""")

_LOCKED = Query(
    """
    SELECT rule_pack, extra_regions, rules::text, version FROM rule_packs
    WHERE merchant = :merchant AND rule_pack = :rule_pack FOR UPDATE
    """,
    _Row,
)

_CHANGE = Query(
    """
    UPDATE rule_packs SET extra_regions = :extra_regions, rules = CAST(:rules AS jsonb),
                          version = version + 1
    WHERE merchant = :merchant AND rule_pack = :rule_pack
    RETURNING rule_pack, extra_regions, rules::text, version
    """,
    _Row,
)


async def of_merchant(connection: Connection, merchant: MerchantId) -> list[MerchantRulePack]:
    """All packs, as they are for a merchant, by id."""
    rows = {row.rule_pack: row for row in await _OF_MERCHANT.all(connection, merchant=merchant)}
    return [
        _pack(merchant, rows[pack.id]) if pack.id in rows else MerchantRulePack(merchant, pack)
        for pack in RULE_PACKS.values()
    ]


@lru_cache(maxsize=_CACHED_RULES)
def merchant_rules(merchant: MerchantId, added: str) -> MerchantRules:
    """The packs of a merchant by what was added to them, as JSON rows: the same ones while it stays."""
    rows = {row[0]: _Row(*row) for row in orjson.loads(added)}
    return MerchantRules([
        _pack(merchant, rows[pack.id]) if pack.id in rows else MerchantRulePack(merchant, pack)
        for pack in RULE_PACKS.values()
    ])  # fmt: skip


async def locked(tx: Connection, key: RulePackKey) -> MerchantRulePack:
    """A pack, as it is for a merchant, locked until the transaction ends."""
    await _ENSURE.run(tx, **key._asdict())
    return _pack(key.merchant, await _LOCKED.one(tx, **key._asdict()))


async def change(tx: Connection, pack: MerchantRulePack) -> MerchantRulePack:
    """Store what a merchant's change made of a pack that is locked."""
    row = await _CHANGE.one(
        tx,
        **pack.key._asdict(),
        extra_regions=pack.extra_regions,
        rules=_encode(pack.pack.rules if pack.pack.id == OWN else ()),
    )
    return _pack(pack.merchant, row)


def _pack(merchant: MerchantId, row: _Row) -> MerchantRulePack:
    pack = RULE_PACKS[row.rule_pack]
    if pack.id == OWN:
        pack = replace(pack, rules=tuple(map(_decode, orjson.loads(row.rules))))
    return MerchantRulePack(merchant, pack, tuple(row.extra_regions), row.version)


def _encode(rules: Iterable[Rule]) -> str:
    return orjson.dumps([
        {
            "id": rule.id,
            "source": rule.source,
            "start_date": rule.start_date,
            "end_date": rule.end_date,
            "kind": type(rule.requirement).__name__,
            "values": rule.requirement._asdict(),
        }
        for rule in rules
    ]).decode()  # fmt: skip


def _decode(stored: dict[str, Any]) -> Rule:
    values = stored["values"]
    if "elements" in values:
        values["elements"] = tuple(map(Element, values["elements"]))
    return Rule(
        stored["id"],
        _KINDS[stored["kind"]](**values),
        stored["source"],
        _optional_date(stored["start_date"]),
        _optional_date(stored["end_date"]),
    )


def _optional_date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
