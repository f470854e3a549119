"""Rows of merchants' settings."""

from collections.abc import Collection
from typing import Any, NamedTuple

from services.notify.domain.notices import Evidence, MerchantId
from services.notify.domain.settings import NotifySettings
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Command, Query, scalar
from services.runtime.money import Money


class _SettingsRow(NamedTuple):
    merchant: MerchantId
    phone_region_codes: list[str]
    code_spend_max_minor: int | None
    code_spend_currency: str | None
    web_otp_host: str
    phone_proof_days: int
    email_page_uri: str
    proved_email_only: bool
    time_zone: str
    merchant_display_name: str
    complaint_address: str
    charge_notice_evidence: Evidence
    daily_message_max: int
    monthly_summaries: bool
    version: int


_GET = Query(
    """
    SELECT merchant, phone_region_codes, code_spend_max_minor, code_spend_currency, web_otp_host,
           phone_proof_days, email_page_uri, proved_email_only, time_zone, merchant_display_name,
           complaint_address, charge_notice_evidence, daily_message_max, monthly_summaries, version
    FROM notify_settings WHERE merchant = :merchant
    """,
    _SettingsRow,
)

_ENSURE = Command("""
    INSERT INTO notify_settings (merchant) VALUES (:merchant) ON CONFLICT (merchant) DO NOTHING
""")

_GET_LOCKED = Query(
    """
    SELECT merchant, phone_region_codes, code_spend_max_minor, code_spend_currency, web_otp_host,
           phone_proof_days, email_page_uri, proved_email_only, time_zone, merchant_display_name,
           complaint_address, charge_notice_evidence, daily_message_max, monthly_summaries, version
    FROM notify_settings WHERE merchant = :merchant FOR UPDATE
    """,
    _SettingsRow,
)

_CHANGE = Query(
    """
    UPDATE notify_settings
    SET phone_region_codes = :phone_region_codes, code_spend_max_minor = :code_spend_max_minor,
        code_spend_currency = :code_spend_currency, web_otp_host = :web_otp_host,
        phone_proof_days = :phone_proof_days, email_page_uri = :email_page_uri,
        proved_email_only = :proved_email_only, time_zone = :time_zone,
        merchant_display_name = :merchant_display_name, complaint_address = :complaint_address,
        charge_notice_evidence = :charge_notice_evidence,
        daily_message_max = :daily_message_max, monthly_summaries = :monthly_summaries,
        version = version + 1
    WHERE merchant = :merchant
    RETURNING merchant, phone_region_codes, code_spend_max_minor, code_spend_currency, web_otp_host,
              phone_proof_days, email_page_uri, proved_email_only, time_zone, merchant_display_name,
              complaint_address, charge_notice_evidence, daily_message_max, monthly_summaries, version
    """,
    _SettingsRow,
)


_ACCEPTED_SUFFICES = Query(
    """
    SELECT merchant FROM notify_settings
    WHERE merchant = ANY(CAST(:merchants AS text[])) AND charge_notice_evidence = 'ACCEPTED'
    """,
    scalar,
)


async def accepted_suffices(tx: Connection, merchants: Collection[MerchantId]) -> set[MerchantId]:
    """Those of the merchants for whom what a gateway took is proof enough."""
    return set(await _ACCEPTED_SUFFICES.all(tx, merchants=merchants)) if merchants else set()


_WITH_SUMMARIES = Query(
    """
    SELECT merchant FROM notify_settings
    WHERE merchant = ANY(CAST(:merchants AS text[])) AND monthly_summaries
    """,
    scalar,
)


async def with_summaries(tx: Connection, merchants: Collection[MerchantId]) -> set[MerchantId]:
    """Those of the merchants whose customers get a summary of each month."""
    return set(await _WITH_SUMMARIES.all(tx, merchants=merchants)) if merchants else set()


async def get(tx: Connection, merchant: MerchantId, *, lock: bool = False) -> NotifySettings:
    """A merchant's settings, or those that hold where none were stored; locked if asked for."""
    if lock:
        # There must be a row to lock.
        await _ENSURE.run(tx, merchant=merchant)
    row = await (_GET_LOCKED if lock else _GET).one_or_none(tx, merchant=merchant)
    return NotifySettings(merchant) if row is None else _settings(row)


async def change(tx: Connection, settings: NotifySettings) -> NotifySettings:
    """Store what a caller's change made of settings that are locked."""
    return _settings(await _CHANGE.one(tx, **_columns(settings)))


def _columns(settings: NotifySettings) -> dict[str, Any]:
    spend = settings.code_spend_day_max
    return {
        "merchant": settings.merchant,
        "phone_region_codes": list(settings.phone_region_codes),
        "code_spend_max_minor": spend.amount_minor if spend else None,
        "code_spend_currency": spend.currency if spend else None,
        "web_otp_host": settings.web_otp_host,
        "phone_proof_days": settings.phone_proof_days,
        "email_page_uri": settings.email_page_uri,
        "proved_email_only": settings.proved_email_only,
        "time_zone": settings.time_zone,
        "merchant_display_name": settings.merchant_display_name,
        "complaint_address": settings.complaint_address,
        "charge_notice_evidence": settings.charge_notice_evidence,
        "daily_message_max": settings.daily_message_max,
        "monthly_summaries": settings.monthly_summaries,
    }


def _settings(row: _SettingsRow) -> NotifySettings:
    spend = None
    if row.code_spend_max_minor is not None and row.code_spend_currency is not None:
        spend = Money(row.code_spend_max_minor, row.code_spend_currency)
    return NotifySettings(
        row.merchant,
        tuple(row.phone_region_codes),
        spend,
        row.web_otp_host,
        row.phone_proof_days,
        row.email_page_uri,
        row.proved_email_only,
        row.time_zone,
        row.merchant_display_name,
        row.complaint_address,
        row.charge_notice_evidence,
        row.daily_message_max,
        row.monthly_summaries,
        row.version,
    )
