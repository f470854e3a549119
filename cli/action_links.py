"""Links in notices, by which customers skip, pause, resume, cancel or confirm."""

from typing import Annotated

import typer
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, new_request_id
from cli.names import short_name
from cli.output import Columns
from cli.values import format_money, format_timestamp

action_links = group("Show what the links of notices offer, and act by them as customers do.")

TokenArgument = Annotated[
    str, typer.Argument(metavar="TOKEN", help="What the link has in the place of {token}.")
]


def _describe_offer(offer: pb.ActionLink.Offer) -> str:
    action = pb.ActionLink.Action.Name(offer.action)
    following = format_timestamp(offer.next_due_time)
    return f"{action}, next due {following}" if following else action


LINK_COLUMNS: Columns[pb.ActionLink] = {
    "standing order": lambda it: short_name(it.standing_order),
    "is": lambda it: pb.StandingOrder.State.Name(it.standing_order_state),
    "order": lambda it: short_name(it.order),
    "order is": lambda it: pb.Order.State.Name(it.order_state) if it.order else "",
    "title": lambda it: it.title,
    "due": lambda it: format_timestamp(it.due_time),
    "zone": lambda it: it.time_zone,
    "amount": lambda it: format_money(it.amount) if it.HasField("amount") else "",
    "offers": lambda it: "\n".join(map(_describe_offer, it.offers)),
    "until": lambda it: format_timestamp(it.expire_time),
    "used": lambda it: format_timestamp(it.use_time),
    "used for": lambda it: pb.ActionLink.Action.Name(it.used_action) if it.used_action else "",
}


@command(action_links, "show")
async def resolve_action_link(session: Session, token: TokenArgument) -> None:
    """Show what the link of a notice offers now. It is not used up by that."""
    request = pb.ResolveActionLinkRequest(parent=session.parent, link_token=token)
    session.output.one(await session.scheduler.ResolveActionLink(request), LINK_COLUMNS)


@command(action_links, "act")
async def act_by_link(
    session: Session,
    token: TokenArgument,
    action: Annotated[
        pb.ActionLink.Action.ValueType,
        one_of(pb.ActionLink.Action, "What the customer wants."),
    ],
) -> None:
    """Do what the link of a notice offers, as its customer does; a link acts once."""
    request = pb.ActByLinkRequest(
        parent=session.parent, link_token=token, action=action, request_id=new_request_id()
    )
    session.output.one(await session.scheduler.ActByLink(request), LINK_COLUMNS)
