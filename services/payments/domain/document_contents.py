"""What a document is over: the amounts of a charge, or of what was given back of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from services.payments.domain.accounts import REFUNDS, tax_account
from services.payments.domain.charges import Charge
from services.payments.domain.documents import (
    Content,
    DocumentAdjustment,
    DocumentLine,
    TaxTotal,
)
from services.payments.domain.lines import ChargeLine, LineTax, load_lines
from services.payments.domain.refunds import RefundLine
from services.payments.domain.transfers import shares

# By what people distinguish taxes: title, rate and treatment.
TaxGroup = tuple[str, int, str]


def payment_content(charge: Charge) -> Content:
    """What a charge was for; its amount is that of the charge."""
    lines = load_lines(charge.lines)
    tax_minor = sum(tax.amount_minor for line in lines for tax in line.taxes)
    bases: Counter[TaxGroup] = Counter()
    amounts: Counter[TaxGroup] = Counter()
    for line in lines:
        for tax in line.taxes:
            bases[_group(tax)] += line.net_minor
            amounts[_group(tax)] += tax.amount_minor
    return Content(
        tuple(map(_line, lines)) or (_whole(charge, charge.amount_minor, charge.amount_minor),),
        charge.amount_minor - tax_minor,
        tuple(TaxTotal(*group, bases[group], amounts[group]) for group in bases),
        charge.credit_minor,
    )


def refund_content(
    charge: Charge,
    parts: Mapping[str, int],
    refund_lines: Sequence[RefundLine],
    *,
    to_credit: bool,
) -> Content:
    """What a credit note gives back, by what was booked of it of the sale and of each tax.

    What each tax was due on is the part of its lines that is given back, as that of the sale is.
    """
    lines = load_lines(charge.lines)
    net_minor = parts.get(REFUNDS, 0)
    amount_minor = sum(parts.values())
    bases, groups = _bases(lines, net_minor), _groups(charge, lines)
    amounts = Counter(dict.fromkeys([*groups.values(), *bases], 0))
    for account, group in groups.items():
        amounts[group] += parts.get(account, 0)
    taxes = [
        TaxTotal(*group, bases[group], minor)
        for group, minor in amounts.items()
        if bases[group] or minor
    ]
    return Content(
        _refund_lines(charge, lines, refund_lines, amount_minor),
        net_minor,
        tuple(taxes),
        amount_minor if to_credit else 0,
    )


def _bases(lines: Iterable[ChargeLine], net_minor: int) -> Counter[TaxGroup]:
    """What of a net amount each tax is due on, if all lines give back the same part."""
    sets: Counter[tuple[TaxGroup, ...]] = Counter()
    for line in lines:
        sets[tuple(map(_group, line.taxes))] += line.net_minor
    bases: Counter[TaxGroup] = Counter()
    if not sum(sets.values()):
        return bases
    for groups, part_minor in shares(net_minor, sets).items():
        for group in groups:
            bases[group] += part_minor
    return bases


def _groups(charge: Charge, lines: Iterable[ChargeLine]) -> dict[str, TaxGroup]:
    """By account, the tax that is booked there; the first, if people distinguish several."""
    groups: dict[str, TaxGroup] = {}
    for line in lines:
        for tax in line.taxes:
            account = tax_account(charge.region_code, tax.tax_rate, tax.rate_ppm)
            groups.setdefault(account, _group(tax))
    return groups


def _refund_lines(
    charge: Charge,
    lines: Iterable[ChargeLine],
    given_back: Sequence[RefundLine],
    amount_minor: int,
) -> tuple[DocumentLine, ...]:
    """Which products are given back, if that was said and is all of this document."""
    if sum(line.amount_minor for line in given_back) != amount_minor:
        return (_whole(charge, amount_minor, None),)
    titles = {line.product: line.title for line in lines}
    return tuple(
        DocumentLine(it.product, titles.get(it.product) or it.product, 0, None, it.amount_minor)
        for it in given_back
    )


def _whole(charge: Charge, amount_minor: int, net_minor: int | None) -> DocumentLine:
    """One line for all that is paid or given back."""
    return DocumentLine("", charge.title, 1, net_minor, amount_minor)


def _line(line: ChargeLine) -> DocumentLine:
    return DocumentLine(
        line.product,
        line.title or line.product,
        line.quantity,
        line.net_minor,
        line.gross_minor,
        line.list_minor,
        tuple(DocumentAdjustment(*adjustment) for adjustment in line.adjustments),
    )


def _group(tax: LineTax) -> TaxGroup:
    return tax.title, tax.rate_ppm, tax.treatment
