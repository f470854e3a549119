"""What the catalog says that rule packs ask of charges, from its messages."""

from recurring.catalog.v1 import catalog_pb2

from services.payments.domain.rules import ChargeRule, ChargeRules, PaymentScheme
from services.runtime.rpc.conversions import from_money


def read_charge_rules(message: catalog_pb2.ChargeRules) -> ChargeRules:
    """The rules that bind a charge, by payment scheme; empty where none binds at all."""
    rules = tuple(
        (_scheme(entry.payment_scheme), tuple(map(read_rule, entry.rules)))
        for entry in message.schemes
    )
    return rules if any(bound for _, bound in rules) else ()


def scheme_value(scheme: PaymentScheme | None) -> catalog_pb2.PaymentScheme.ValueType:
    """A payment scheme on the wire."""
    return catalog_pb2.PaymentScheme.Value(scheme or "PAYMENT_SCHEME_UNSPECIFIED")


def _scheme(value: catalog_pb2.PaymentScheme.ValueType) -> str:
    if not value:
        return ""
    # A later one of the catalog has no name here, and no method is of it.
    known = value in catalog_pb2.PaymentScheme.values()
    return catalog_pb2.PaymentScheme.Name(value) if known else str(value)


def read_rule(message: catalog_pb2.BindingRule) -> ChargeRule:
    """A rule, with what it asks of charges and mandates; other kinds ask nothing of them."""
    rule = message.rule
    found = ChargeRule(message.rule_pack, rule.id, rule.source)
    match rule.WhichOneof("kind"):
        case "debit_notice_lead":
            return found._replace(notice_lead_seconds=rule.debit_notice_lead.seconds)
        case "confirmation_above":
            amount = from_money(rule.confirmation_above)
            return found._replace(
                confirmation_above_minor=amount.amount_minor, confirmation_currency=amount.currency
            )
        case "mandate_terms":
            # Every mandate has a maximum here.
            return found._replace(mandate_ends=rule.mandate_terms.validity)
        case "mandate_lapse_months":
            return found._replace(mandate_lapse_months=rule.mandate_lapse_months)
    return found
