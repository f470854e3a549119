"""Every method of every contract says who may call it."""

import pytest

from protos import contracts
from protos.contracts import Contract
from services.catalog import api as catalog
from services.notify import api as notify
from services.payments import api as payments
from services.runtime.auth.authenticator import Access
from services.scheduler import api as scheduler

TABLES = {
    "catalog": catalog.ACCESS,
    "scheduler": scheduler.ACCESS,
    "payments": payments.ACCESS,
    "notify": notify.ACCESS,
}
CONTRACTS = contracts.read()
READING = ("Get", "List", "Preview", "Explain", "Forecast", "Simulate", "Download")


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.service)
def test_every_method_is_in_its_table_and_no_other(contract: Contract) -> None:
    assert {method.name for method in contract.methods} == set(TABLES[contract.service])


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.service)
def test_every_method_is_open_to_somebody_and_none_to_whoever_asks(contract: Contract) -> None:
    for name, access in TABLES[contract.service].items():
        assert access != Access(), name
        assert set(access.services) <= set(TABLES) - {contract.service}, name


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.service)
def test_whoever_may_only_read_changes_nothing(contract: Contract) -> None:
    reading = {
        name for name, access in TABLES[contract.service].items() if access.scope.endswith(":read")
    }
    assert all(name.startswith(READING) for name in reading)
    assert reading
