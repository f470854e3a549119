"""The `recurring` command: nouns, then verbs."""

import typer

from cli import (
    access,
    action_links,
    books,
    call,
    clock,
    contacts,
    credit,
    customers,
    cycles,
    deliveries,
    disputes,
    documents,
    dunning,
    events,
    expected_sales,
    forecast,
    ledger,
    mandates,
    notices,
    offers,
    orders,
    payments,
    policies,
    preview,
    price_previews,
    price_quotes,
    prices,
    products,
    promotions,
    protections,
    reports,
    rule_packs,
    standing_orders,
    statements,
    status,
    stock,
    tax,
    webhooks,
)
from cli.command import Group, StrictCommand, run_to_exit
from cli.demo import command as demo_command
from cli.faults import command as faults
from cli.imports import catalog as catalog_imports
from cli.imports import command as imports
from cli.prove.command import prove

app = typer.Typer(
    name="recurring",
    cls=Group,
    help="Manage standing orders and their billing, on a stack on this machine or on any deployment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

for name, noun in {
    "products": products.products,
    "prices": prices.prices,
    "offers": offers.offers,
    "protections": protections.protections,
    "promotions": promotions.promotions,
    "stock": stock.stock,
    "deliveries": deliveries.deliveries,
    "tax": tax.tax,
    "rule-packs": rule_packs.rule_packs,
    "books": books.books,
    "customers": customers.customers,
    "contacts": contacts.contacts,
    "phone": contacts.phone,
    "notices": notices.notices,
    "payment-methods": payments.payment_methods,
    "mandates": mandates.mandates,
    "standing-orders": standing_orders.standing_orders,
    "cycles": cycles.cycles,
    "orders": orders.orders,
    "purchases": policies.purchases,
    "settings": policies.settings,
    "charges": payments.charges,
    "credit": credit.credit,
    "dunning": dunning.dunning,
    "refunds": payments.refunds,
    "disputes": disputes.disputes,
    "documents": documents.documents,
    "payment-links": payments.links,
    "action-links": action_links.action_links,
    "ledger": ledger.ledger,
    "clock": clock.clock,
    "events": events.events,
    "webhooks": webhooks.webhooks,
    "sandbox": clock.sandbox,
    "prove": prove,
}.items():
    app.add_typer(noun, name=name)
status.register(app)
reports.register(books.books)
expected_sales.register(books.books)
statements.register(documents.documents)
price_previews.register(prices.prices)
price_quotes.register(prices.prices)
catalog_imports.register(products.products, prices.prices)
access.register(app)
preview.register(app)
forecast.register(app)
orders.register(app)
imports.register(app)
call.register(app)
faults.register(app)


@app.command("demo", cls=StrictCommand)
def demo() -> None:
    """Simulate six months of five customers on the sandbox's clock, then prove the result."""
    run_to_exit(demo_command.demo())


if __name__ == "__main__":
    app()
