"""Price agreements of standing orders, as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from services.runtime.db.pool import to_json
from services.scheduler.domain.price_agreements import PriceAgreement


def dump(agreements: Sequence[PriceAgreement]) -> str:
    """Agreements as they are stored."""
    return to_json([_plain(agreement) for agreement in agreements])


def load(data: Sequence[dict[str, Any]]) -> tuple[PriceAgreement, ...]:
    """Agreements as they were stored."""
    return tuple(
        PriceAgreement(
            **{
                **agreement,
                "agree_time": datetime.fromisoformat(agreement["agree_time"]),
                "until_time": agreement["until_time"]
                and datetime.fromisoformat(agreement["until_time"]),
            }
        )
        for agreement in data
    )


def _plain(agreement: PriceAgreement) -> dict[str, Any]:
    times = {
        "agree_time": agreement.agree_time.isoformat(),
        "until_time": agreement.until_time and agreement.until_time.isoformat(),
    }
    return {**asdict(agreement), **times}
