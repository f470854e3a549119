"""Promotions of standing orders that end, as JSON."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from services.runtime.db.pool import to_json
from services.scheduler.domain.promotions import EndingPromotion


def dump(promotion: EndingPromotion | None) -> str | None:
    """A promotion as it is stored."""
    if promotion is None:
        return None
    until_time = promotion.until_time and promotion.until_time.isoformat()
    return to_json({**asdict(promotion), "until_time": until_time})


def load(data: dict[str, Any] | None) -> EndingPromotion | None:
    """A promotion as it was stored."""
    if data is None:
        return None
    until_time = data["until_time"] and datetime.fromisoformat(data["until_time"])
    return EndingPromotion(**{**data, "until_time": until_time})
