"""Every method of every contract says who may call it."""

import re
from pathlib import Path

import pytest
from google.api import resource_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

# Imported for their descriptors.
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.platform.v1 import resources_pb2
from recurring.scheduler.v1 import scheduler_pb2

from protos import contracts
from protos.contracts import Contract
from services.catalog import api as catalog
from services.notify import api as notify
from services.payments import api as payments
from services.runtime.auth.authenticator import Access
from services.runtime.auth.customer_access import CustomerAccess, Ownership
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


# --- customers ----------------------------------------------------------------------------------------


OPEN = [
    (contract, method, access.customer)
    for contract in CONTRACTS
    for method, access in TABLES[contract.service].items()
    if access.customer is not None
]
# Of the merchant, whatever a name or a comment would suggest.
CLOSED = re.compile(
    r"Refund|Dispute|Ledger|Payout|Reconciliation|Settings|Policy|Routing|Erase|Import|Audit|Webhook|"
    r"Template|Explain|Forecast|CreateCredit|Batch|TaxRate|RulePack|Stock|Delivery|CreateP(rice|roduct|romo)"
)
# Whose these are, their rows say.
OWNED_BY_ROWS = {
    "scheduler.recurring/StandingOrder", "scheduler.recurring/Order", "payments.recurring/Document",
}  # fmt: skip
PATTERNS: dict[str, str] = {
    resource.type: resource.pattern[0]
    for module in (catalog_pb2, scheduler_pb2, payments_pb2, notify_pb2, resources_pb2)
    for resource in (
        *(
            message.GetOptions().Extensions[resource_pb2.resource]
            for message in module.DESCRIPTOR.message_types_by_name.values()
        ),
        *module.DESCRIPTOR.GetOptions().Extensions[resource_pb2.resource_definition],
    )
    if resource.type
}


def request_of(contract: Contract, method: str) -> Descriptor:
    service = descriptor_pool.Default().FindServiceByName(contract.full_name)
    return service.methods_by_name[method].input_type


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    """The field of a path; raises KeyError if there is none."""
    above, _, name = path.rpartition(".")
    for step in above.split(".") if above else ():
        below = message.fields_by_name[step].message_type
        assert below is not None
        message = below
    return message.fields_by_name[name]


def pattern_of(field: FieldDescriptor) -> str:
    """The pattern of what a field names; of the parent, that of the parent."""
    reference = field.GetOptions().Extensions[resource_pb2.resource_reference]
    if reference.child_type:
        return PATTERNS[reference.child_type].rsplit("/", 2)[0]
    message = field.containing_type
    assert message is not None
    # The name of a resource in its own message refers to itself.
    own = message.GetOptions().Extensions[resource_pb2.resource].type
    return PATTERNS[reference.type or own]


@pytest.mark.parametrize(
    ("contract", "method", "access"),
    OPEN,
    ids=[f"{contract.service}.{method}" for contract, method, _ in OPEN],
)
def test_a_method_that_is_open_to_customers_says_whose_each_request_is(
    contract: Contract, method: str, access: CustomerAccess
) -> None:
    request = request_of(contract, method)
    for path in access.fields:
        field_at(request, path)
    pattern = pattern_of(field_at(request, access.field))
    if access.ownership is Ownership.BY_NAME:
        assert pattern.startswith("merchants/{merchant}/customers/{customer}")
    elif access.ownership is Ownership.BY_ROW:
        assert pattern in {PATTERNS[name] for name in OWNED_BY_ROWS}
    else:
        assert pattern in {"merchants/{merchant}", PATTERNS["catalog.recurring/Product"]}
        assert method.startswith(READING)


def test_the_documentation_lists_what_is_open_to_customers() -> None:
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    section = text.partition("\n## Customers\n")[2].partition("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert sorted(re.findall(r"`([A-Z]\w+)`", table)) == sorted(method for _, method, _ in OPEN)


def test_no_stream_is_open_to_customers() -> None:
    streams = {
        method.id for contract in CONTRACTS for method in contract.methods if method.streams_in
    }
    assert not streams & {f"{contract.service}.{method}" for contract, method, _ in OPEN}


def test_what_is_the_merchants_alone_is_closed_to_customers() -> None:
    assert [method for _, method, _ in OPEN if CLOSED.search(method)] == []


def test_no_method_of_the_suite_alone_is_open_to_customers() -> None:
    assert [
        method for contract, method, _ in OPEN if not TABLES[contract.service][method].scope
    ] == []
