"""What law, payment schemes and the merchant ask of recurring charges."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import ParseDict, ParseError
from google.type import date_pb2
from recurring.catalog.v1 import catalog_pb2 as pb

from cli.command import command, group, one_of
from cli.connect import Session, all_pages, new_request_id
from cli.errors import CommandError
from cli.json_text import load_json
from cli.names import RULE_PACK, last_id
from cli.output import Columns
from cli.values import format_date, format_duration, format_money, parse_date

rule_packs = group("Show and extend what law and payment schemes ask of recurring charges.")

OWN = "own"
RULES_FILE_MAX_BYTES = 1 << 20
FROM_STANDARD_INPUT = "-"

PackArgument = Annotated[str, typer.Argument(metavar="PACK", help="Id or resource name.")]
RegionsArgument = Annotated[
    list[str], typer.Argument(metavar="REGION...", help='For example "CH" or "US-NY".')
]


def _period(notice: pb.NoticePeriod) -> str:
    most = f" and at most {notice.max_days}" if notice.max_days else ""
    return f"at least {notice.min_days}{most} days before"


def _elements(content: pb.NoticeContent) -> str:
    return ", ".join(map(pb.NoticeContent.Element.Name, content.elements))


_ASKED: Mapping[str, Callable[[Any], str]] = {
    "debit_notice_lead": lambda it: f"a notice {format_duration(it)} before a charge",
    "debit_notice_content": lambda it: f"the notice before a charge says {_elements(it)}",
    "confirmation_above": lambda it: f"the customer confirms charges above {format_money(it)}",
    "receipt_content": lambda it: f"the receipt says {_elements(it)}",
    "mandate_terms": lambda it: (
        "a mandate has " + " and ".join(["a maximum"] * it.maximum + ["a last day"] * it.validity)
    ),
    "mandate_lapse_months": lambda it: f"a mandate lapses {it} months after its last charge",
    "refund_right_days": lambda it: f"a charge is given back within {it} days without a reason",
    "retry_limit": lambda it: f"at most {it.attempt_count} attempts in {it.window_hours} hours",
    "price_increase_notice": lambda it: f"notice of an increase {_period(it)}",
    "offer_end_notice": lambda it: f"notice of the end of an offer {_period(it)}",
    "reminder_months": lambda it: f"a reminder every {it} months",
}


def asked(rule: pb.Rule) -> str:
    """What a rule asks, in words."""
    kind = rule.WhichOneof("kind")
    return _ASKED[kind](getattr(rule, kind)) if kind else ""


PACK_COLUMNS: Columns[pb.RulePack] = {
    "pack": lambda it: last_id(it.name),
    "title": lambda it: it.title,
    "in": lambda it: " ".join(it.regions) or "everywhere",
    "also in": lambda it: " ".join(it.extra_regions),
    "for": lambda it: ", ".join(map(pb.PaymentScheme.Name, it.payment_schemes)) or "all payments",
    "rules": lambda it: str(len(it.rules)),
}
RULE_COLUMNS: Columns[pb.Rule] = {
    "rule": lambda it: it.id,
    "asks for": asked,
    "from": lambda it: format_date(it.start_date),
    "until": lambda it: format_date(it.end_date),
    "source": lambda it: it.source,
}
BINDING_COLUMNS: Columns[pb.BindingRule] = {
    "pack": lambda it: last_id(it.rule_pack),
    "asks for": lambda it: asked(it.rule),
    "rule": lambda it: it.rule.id,
    "source": lambda it: it.rule.source,
}


@command(rule_packs, "list")
async def list_rule_packs(session: Session) -> None:
    """List the rule packs."""
    request = pb.ListRulePacksRequest(parent=session.parent)
    listed = await all_pages(session.catalog.ListRulePacks, request, "rule_packs")
    session.output.many(listed, PACK_COLUMNS, "no rule packs")


@command(rule_packs, "get")
async def get_rule_pack(session: Session, pack: PackArgument) -> None:
    """Show a rule pack, with each version of its rules and where it is said."""
    _show(session, await _get(session, pack))


@command(rule_packs, "binding")
async def binding_rules(
    session: Session,
    region: Annotated[str, typer.Option(help='Where the customer is, such as "DE".')] = "",
    scheme: Annotated[
        pb.PaymentScheme.ValueType, one_of(pb.PaymentScheme, "How the customer pays.")
    ] = pb.PAYMENT_SCHEME_UNSPECIFIED,
    day: Annotated[
        date_pb2.Date | None,
        typer.Option("--on", parser=parse_date, metavar="DATE", help="Default: today."),
    ] = None,
) -> None:
    """Show which rules bind a charge: of each kind the strictest."""
    request = pb.GetBindingRulesRequest(
        parent=session.parent, region_code=region, payment_scheme=scheme, local_date=day
    )
    answer = await session.catalog.GetBindingRules(request)
    session.output.many(answer.rules, BINDING_COLUMNS, "no rule binds")


@command(rule_packs, "add-regions")
async def add_regions(session: Session, pack: PackArgument, regions: RegionsArgument) -> None:
    """Have a pack apply in more regions than its own."""
    present = await _get(session, pack)
    present.extra_regions[:] = sorted({*present.extra_regions, *regions})
    await _update(session, present)


@command(rule_packs, "remove-regions")
async def remove_regions(session: Session, pack: PackArgument, regions: RegionsArgument) -> None:
    """Take back regions that were added to a pack."""
    present = await _get(session, pack)
    if unknown := sorted(set(regions) - {*present.extra_regions}):
        raise CommandError(f"{', '.join(unknown)} was not added to {last_id(present.name)}")
    present.extra_regions[:] = sorted({*present.extra_regions} - {*regions})
    await _update(session, present)


@command(rule_packs, "set-own")
async def set_own_rules(
    session: Session,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A JSON list of rules; - is standard input.")
    ],
) -> None:
    """Replace the rules of the merchant's own pack; each counts where it is stricter."""
    present = await _get(session, OWN)
    del present.rules[:]
    present.rules.extend(_read_rules(file))
    await _update(session, present)


async def _get(session: Session, pack: str) -> pb.RulePack:
    request = pb.GetRulePackRequest(name=session.name(RULE_PACK, pack))
    found: pb.RulePack = await session.catalog.GetRulePack(request)
    return found


async def _update(session: Session, pack: pb.RulePack) -> None:
    request = pb.UpdateRulePackRequest(rule_pack=pack, request_id=new_request_id())
    _show(session, await session.catalog.UpdateRulePack(request))


def _show(session: Session, pack: pb.RulePack) -> None:
    session.output.one(pack, PACK_COLUMNS)
    if not session.output.as_json:
        session.output.many(pack.rules, RULE_COLUMNS, "no rules")


def _read_rules(file: str) -> list[pb.Rule]:
    """The rules that a file holds. Raises CommandError, which names what is wrong."""
    try:
        with (
            sys.stdin if file == FROM_STANDARD_INPUT else Path(file).open(encoding="utf-8") as text
        ):
            given = load_json(text.read(RULES_FILE_MAX_BYTES))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{file} is no JSON: {error}") from None
    if not isinstance(given, list):
        raise CommandError(f"{file} must hold a list of rules")
    try:
        return [ParseDict(rule, pb.Rule()) for rule in given]
    except (ParseError, AttributeError, TypeError) as error:
        raise CommandError(f"{file} holds something that is no rule: {error}") from None
