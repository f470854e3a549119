"""Links in notices by which customers act: their tokens are kept as keyed hashes alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar
from services.scheduler.domain.action_links import ActionLink, LinkAction, NewLink
from services.scheduler.domain.ids import MerchantId, StandingOrderId


class _LinkRow(NamedTuple):
    merchant: MerchantId
    standing_order: StandingOrderId
    cycle: int | None
    actions: list[str]
    expire_time: datetime
    use_time: datetime | None
    used_action: str


# Whoever adds a link takes away those of the same standing order that nobody can use any more.
_DELETE_EXPIRED = Command("""
    DELETE FROM action_links
    USING unnest(CAST(:merchant AS text[]), CAST(:standing_order AS text[]))
      AS named (merchant, standing_order)
    WHERE action_links.standing_order = named.standing_order
      AND action_links.merchant = named.merchant AND expire_time <= :now
""")

_INSERT = Command("""
    INSERT INTO action_links (merchant, standing_order, cycle, actions, expire_time, token_hash)
    SELECT merchant, standing_order, cycle, string_to_array(actions, ','), expire_time, token_hash
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:standing_order AS text[]), CAST(:cycle AS integer[]),
        CAST(:actions AS text[]), CAST(:expire_time AS timestamptz[]),
        CAST(:token_hash AS bytea[]))
      AS made (merchant, standing_order, cycle, actions, expire_time, token_hash)
""")

_GET = Query(
    """
    SELECT merchant, standing_order, cycle, actions, expire_time, use_time, used_action
    FROM action_links
    WHERE merchant = :merchant AND token_hash = ANY(CAST(:token_hashes AS bytea[]))
      AND expire_time > :now
""",
    _LinkRow,
)

_USE = Query(
    """
    UPDATE action_links SET use_time = :now, used_action = :action
    WHERE standing_order = :standing_order AND merchant = :merchant
      AND token_hash = ANY(CAST(:token_hashes AS bytea[])) AND use_time IS NULL
    RETURNING standing_order
""",
    scalar,
)


async def insert(tx: Connection, links: Mapping[str, NewLink], now: datetime) -> None:
    """Add links, by their tokens."""
    made = list(links.values())
    await _DELETE_EXPIRED.run_for(
        tx,
        made,
        merchant=[link.merchant for link in made],
        standing_order=[link.standing_order for link in made],
        now=now,
    )
    await _INSERT.run_for(
        tx,
        made,
        actions=[",".join(link.actions) for link in made],
        token_hash=[
            tx.keyring.keyed_hash(token, *_aad(link.merchant)) for token, link in links.items()
        ],
    )


async def get(tx: Connection, merchant: MerchantId, token: str, now: datetime) -> ActionLink | None:
    """The link of a token; None if the merchant has none that has not expired."""
    hashes = tx.keyring.keyed_hashes(token, *_aad(merchant))
    row = await _GET.one_or_none(tx, merchant=merchant, token_hashes=hashes, now=now)
    if row is None:
        return None
    return ActionLink(
        row.merchant,
        row.standing_order,
        row.cycle,
        tuple(map(LinkAction, row.actions)),
        row.expire_time,
        row.use_time,
        LinkAction(row.used_action) if row.used_action else None,
    )


async def use(
    tx: Connection, link: ActionLink, token: str, action: LinkAction, now: datetime
) -> bool:
    """Use a link up; whether this caller was the first."""
    used = await _USE.one_or_none(
        tx,
        merchant=link.merchant,
        standing_order=link.standing_order,
        token_hashes=tx.keyring.keyed_hashes(token, *_aad(link.merchant)),
        action=action,
        now=now,
    )
    return used is not None


def _aad(merchant: MerchantId) -> tuple[str, ...]:
    return "action_links", "token_hash", merchant
