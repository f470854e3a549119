"""Disputes of charges, and what is done about them."""

from typing import Annotated

import typer
from recurring.payments.v1 import payments_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.names import CHARGE, DISPUTE, last_id, short_name
from cli.output import Columns
from cli.values import format_money, format_timestamp

disputes = group("List, answer and accept disputes of charges.")

DisputeArgument = Annotated[
    str, typer.Argument(metavar="DISPUTE", help="Id or resource name, as in lists.")
]

DISPUTE_COLUMNS: Columns[pb.Dispute] = {
    "dispute": lambda it: last_id(it.name),
    "charge": lambda it: short_name(it.charge),
    "amount": lambda it: format_money(it.amount),
    "reason": lambda it: it.reason + (" (late failure)" if it.late_failure else ""),
    "state": lambda it: pb.Dispute.State.Name(it.state),
    "answer due": lambda it: format_timestamp(it.evidence_due_time),
    "answer": lambda it: pb.Dispute.Response.Name(it.response),
    "refused for": lambda it: it.response_failure,
}
DISPUTE_DETAIL_COLUMNS: Columns[pb.Dispute] = {
    **DISPUTE_COLUMNS,
    "mandate": lambda it: last_id(it.mandate),
    "at the provider": lambda it: it.provider_dispute_id,
    "opened": lambda it: format_timestamp(it.open_time),
    "withdrawn": lambda it: format_timestamp(it.withdraw_time),
    "given back": lambda it: format_timestamp(it.reinstate_time),
    "fee": lambda it: format_money(it.fee),
    "answered": lambda it: format_timestamp(it.response_time),
    "sent": lambda it: format_timestamp(it.response_send_time),
    "closed": lambda it: format_timestamp(it.close_time),
    "updated": lambda it: format_timestamp(it.update_time),
}
EVIDENCE_COLUMNS: Columns[pb.Dispute.Evidence] = {
    "field": lambda it: it.field,
    "text": lambda it: it.text,
}
POLICY_COLUMNS: Columns[pb.DisputePolicy] = {
    "charges under the mandate": lambda it: pb.DisputePolicy.Charging.Name(it.charging),
}


@command(disputes, "list")
async def list_disputes(
    session: Session,
    state: Annotated[
        pb.Dispute.State.ValueType, one_of(pb.Dispute.State, "Only disputes in this state.")
    ] = pb.Dispute.STATE_UNSPECIFIED,
    charge: Annotated[
        str, typer.Option(metavar="CHARGE", help="Only those of this charge: CUSTOMER/CHARGE.")
    ] = "",
) -> None:
    """List disputes, with the time until which each is to be answered."""
    request = pb.ListDisputesRequest(
        parent=session.parent,
        state=state,
        charge=charge and session.name(CHARGE, charge),
    )
    listed = await all_pages(session.payments.ListDisputes, request, "disputes")
    session.output.many(listed, DISPUTE_COLUMNS, "no disputes")


@command(disputes, "get")
async def get_dispute(session: Session, dispute: DisputeArgument) -> None:
    """Show a dispute, and the evidence that was given."""
    request = pb.GetDisputeRequest(name=session.name(DISPUTE, dispute))
    _show(session, await session.payments.GetDispute(request))


@command(disputes, "submit")
async def submit_evidence(
    session: Session,
    dispute: DisputeArgument,
    text: Annotated[str, typer.Option(help="Your own words, beside what is stored.")] = "",
) -> None:
    """Answer a dispute with what is stored of its charge; this can be done once."""
    request = pb.SubmitDisputeEvidenceRequest(
        name=session.name(DISPUTE, dispute), text=text, request_id=new_request_id()
    )
    _show(session, await session.payments.SubmitDisputeEvidence(request))


@command(disputes, "accept")
async def accept_dispute(session: Session, dispute: DisputeArgument) -> None:
    """Give a dispute up: it is lost."""
    request = pb.AcceptDisputeRequest(
        name=session.name(DISPUTE, dispute), request_id=new_request_id()
    )
    _show(session, await session.payments.AcceptDispute(request))


@command(disputes, "policy")
async def dispute_policy(
    session: Session,
    charging: Annotated[
        pb.DisputePolicy.Charging.ValueType,
        one_of(pb.DisputePolicy.Charging, "Whether charges go on under the mandate."),
    ] = pb.DisputePolicy.CHARGING_UNSPECIFIED,
) -> None:
    """Show what is done about disputes, or change it."""
    name = f"{session.parent}/disputePolicy"
    policy = await session.payments.GetDisputePolicy(pb.GetDisputePolicyRequest(name=name))
    if charging:
        policy.charging = charging
        request = pb.UpdateDisputePolicyRequest(dispute_policy=policy, request_id=new_request_id())
        policy = await session.payments.UpdateDisputePolicy(request)
    session.output.one(policy, POLICY_COLUMNS)


def _show(session: Session, dispute: pb.Dispute) -> None:
    session.output.one(dispute, DISPUTE_DETAIL_COLUMNS)
    if not session.output.as_json:
        session.output.many(dispute.evidence, EVIDENCE_COLUMNS, "no evidence was given")
