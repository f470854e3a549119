"""A cart whose taxes are not known is refused, and not for an outage of the database."""

import grpc
import pytest

from services.runtime.errors import Problem
from services.runtime.observability.outages import is_outage
from services.scheduler.clients import refuse_untaxed
from services.scheduler.domain.order import OrderReason
from services.scheduler.domain.substitution import Unpriced


def test_what_is_refused_for_want_of_taxes_is_no_outage_of_the_database() -> None:
    priced = Unpriced((OrderReason.PRICE_UNAVAILABLE,), {})
    with pytest.raises(Problem) as refused:
        refuse_untaxed([priced, Unpriced((OrderReason.TAX_UNAVAILABLE,), {})])
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert not is_outage(refused.value)
    refuse_untaxed([priced])
