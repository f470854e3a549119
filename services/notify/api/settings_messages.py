"""Merchants' settings on the wire."""

from recurring.notify.v1 import notify_pb2

from services.notify.api.requests import require_time_zone
from services.notify.domain.notices import Evidence
from services.notify.domain.phone_changes import PHONE_PROOF_DAYS
from services.notify.domain.phone_numbers import is_region
from services.notify.domain.settings import NotifySettings
from services.notify.names import SETTINGS
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import etag, read_money, to_money
from services.runtime.rpc.names import read_name

_EVIDENCE = {notify_pb2.NotifySettings.EVIDENCE_ACCEPTED: Evidence.ACCEPTED}


def read_settings(message: notify_pb2.NotifySettings, price_currency: str) -> NotifySettings:
    """What a merchant's settings are to be; what codes cost is counted in the currency of prices."""
    merchant = read_name(SETTINGS, message.name)
    violations = Violations()
    for index, region in enumerate(message.phone_region_codes):
        violations.require(
            f"notify_settings.phone_region_codes[{index}]",
            "must be a country of ISO 3166-1 that has telephone numbers",
            met=is_region(region),
        )
    spend = None
    if message.HasField("code_spend_day_max"):
        field = "notify_settings.code_spend_day_max"
        spend = read_money(violations, field, message.code_spend_day_max)
        if not violations.found:
            violations.require(
                f"{field}.currency_code",
                f"must be {price_currency}, in which messages are paid for",
                met=spend.currency == price_currency,
            )
    require_time_zone(violations, "notify_settings.time_zone", message.time_zone)
    violations.check()
    regions = tuple(sorted(set(message.phone_region_codes)))
    proof_days = message.phone_proof_days or PHONE_PROOF_DAYS
    return NotifySettings(
        merchant,
        regions,
        spend,
        message.web_otp_host,
        proof_days,
        message.email_page_uri,
        message.proved_email_only,
        message.time_zone,
        message.merchant_display_name,
        message.complaint_address,
        _EVIDENCE.get(message.charge_notice_evidence, Evidence.DELIVERED),
        message.daily_message_max,
        message.monthly_summaries,
    )


def settings_message(settings: NotifySettings) -> notify_pb2.NotifySettings:
    """A merchant's settings on the wire."""
    spend = settings.code_spend_day_max
    return notify_pb2.NotifySettings(
        name=SETTINGS.format(settings.merchant),
        phone_region_codes=settings.phone_region_codes,
        code_spend_day_max=to_money(spend.amount_minor, spend.currency) if spend else None,
        web_otp_host=settings.web_otp_host,
        phone_proof_days=settings.phone_proof_days,
        email_page_uri=settings.email_page_uri,
        proved_email_only=settings.proved_email_only,
        time_zone=settings.time_zone,
        merchant_display_name=settings.merchant_display_name,
        complaint_address=settings.complaint_address,
        charge_notice_evidence=notify_pb2.NotifySettings.Evidence.Value(
            f"EVIDENCE_{settings.charge_notice_evidence}"
        ),
        daily_message_max=settings.daily_message_max,
        monthly_summaries=settings.monthly_summaries,
        etag=etag(settings.version),
    )
