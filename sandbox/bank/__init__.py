"""A bank debit provider in the shape of GoCardless' API, for accounts that exist only here.

What is built is what a careful merchant of standing orders uses: mandates and their bank accounts to
look at, payments that are created, cancelled, retrieved and listed, refunds, and events. Field names,
statuses, the error envelope, cursors, the 409 for a used Idempotency-Key and the signature of webhooks
follow https://developer.gocardless.com/api-reference (version 2015-07-06); a parameter that isn't built
is refused, not ignored. Days of the bank are days of the simulated clock, without weekends.
"""

from sandbox.bank.api import Bank
from sandbox.bank.errors import refusal_body, replayed
from sandbox.bank.webhooks import BankWebhooks

__all__ = ["Bank", "BankWebhooks", "refusal_body", "replayed"]
