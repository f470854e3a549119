"""How a merchant's customers are reached beyond what each contact says. Pure."""

from dataclasses import dataclass

from services.notify.domain.notices import MerchantId
from services.notify.domain.phone_changes import PHONE_PROOF_DAYS
from services.runtime.money import Money


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """A merchant's settings; each merchant has one set."""

    merchant: MerchantId
    # ISO 3166-1 codes of the countries whose numbers get codes; empty: all that the operator allows.
    phone_region_codes: tuple[str, ...] = ()
    # What codes may cost in a day of UTC; None: what the operator allows.
    code_spend_day_max: Money | None = None
    # The host of the page that asks for codes; empty: messages name none.
    web_otp_host: str = ""
    # For so many days a phone is proved after each message that arrives.
    phone_proof_days: int = PHONE_PROOF_DAYS
    version: int = 0
