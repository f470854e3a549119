"""A payment provider in the shape of Stripe's API, for cards that exist only here.

What is built is what a careful merchant of standing orders uses: PaymentIntents that are created
and confirmed off session in one request, their retrieval, listing and search, refunds, disputes,
the look-up of a payment method, and the balance with its payouts; and SetupIntents as far as they
take a key. Field names, statuses, error envelopes and the rules of the Idempotency-Key follow https://docs.stripe.com/api;
a parameter that isn't built is refused, not ignored. Unlike Stripe's, the search sees a
PaymentIntent at once, and keys are kept for ever, unless `behavior.py` is set otherwise. Amounts
are integers in the units of `currencies`, `created` is simulated unix time.
"""

from sandbox.provider.accounts import Account, build_app
from sandbox.provider.behavior import Behavior
from sandbox.provider.cards import Cards
from sandbox.provider.forms import refusal_body

__all__ = [
    "Account",
    "Behavior",
    "Cards",
    "build_app",
    "refusal_body",
]
