"""How a merchant's customers are reached beyond what each contact says. Pure."""

from dataclasses import dataclass

from services.notify.domain.notices import Evidence, MerchantId
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
    # The page that links to prove an e-mail address lead to, with `{token}` in it; empty: none.
    email_page_uri: str = ""
    # Whether an e-mail address gets nothing before it is proved.
    proved_email_only: bool = False
    # An IANA name, of contacts that name none; empty: it is not known.
    time_zone: str = ""
    # What messages call the merchant; empty: nothing.
    merchant_display_name: str = ""
    # Where its customers complain; empty: messages name nothing.
    complaint_address: str = ""
    # What counts as proof that the notice before a charge arrived, where no rule pack asks for it.
    charge_notice_evidence: Evidence = Evidence.DELIVERED
    # How many messages a customer gets by a channel in a day, of those that can wait; 0: any number.
    daily_message_max: int = 0
    # Whether customers get a summary of each month.
    monthly_summaries: bool = False
    version: int = 0

    def email_link(self, customer: str, token: str) -> str:
        """The link that proves a customer's e-mail address."""
        return self.email_page_uri.replace("{customer}", customer).replace("{token}", token)
