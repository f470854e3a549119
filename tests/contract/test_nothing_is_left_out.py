"""Every method, documented reason and event has been seen by a test; this one is the last.

What the tests have been answered is remembered as it comes (tests/answers.py), and what there is to
see is read from the contracts and their comments, so neither can be forgotten.
"""

import re
from collections.abc import Iterable
from uuid import UUID

import asyncpg
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

# Imported for their descriptors, by which an event is read from its type.
from recurring.catalog.v1 import events_pb2 as _catalog  # noqa: F401
from recurring.cloudevents.v1.cloudevents_pb2 import CloudEvent, CloudEventBatch
from recurring.notify.v1 import events_pb2 as _notify  # noqa: F401
from recurring.payments.v1 import events_pb2 as _payments  # noqa: F401
from recurring.scheduler.v1 import events_pb2 as _scheduler  # noqa: F401

from deploy.embedded import wiring
from protos import contracts
from protos.contracts import Contract, Method
from tests.answers import OK, PAGED, REPLAYED, REPLAYED_OTHERWISE
from tests.contract import again
from tests.contract.every_call import CONTRACTS
from tests.suite import Suite, recorder

# What a caller cannot bring about from outside, and where it is tried instead.
OUT_OF_REACH = {
    "CARD_NUMBER": "one rule for the texts of all methods: tests/contract/test_texts.py",
    "RATE_EXCEEDED": "takes a flood: tests/integration/runtime/test_server.py",
    "TOO_MANY_CALLS_AT_ONCE": "takes a flood: tests/unit/runtime/test_limits.py",
    "DEPENDENCY_UNAVAILABLE": "needs a part that is down: tests/integration/runtime",
    "scheduler.ImportStandingOrders IMPORT_TOO_LARGE": "takes minutes: tests/unit/scheduler",
    "WEBHOOK_REPLAY_TOO_LARGE": "takes 10001 events: tests/integration/notify/test_webhooks.py",
    "payments.GetPayout OK": "takes payouts: tests/integration/payments/test_provider_balance.py",
    "payments.ListPayouts PAGED": "takes payouts: tests/integration/payments/test_provider_balance.py",
    **dict.fromkeys(
        (
            "payments.ListReconciliationFindings PAGED",
            "payments.ApplyReconciliationEntry OK",
            "payments.ApplyReconciliationEntry REPLAYED",
            "RECONCILIATION_FINDING_STATE",
        ),
        "takes a false list of the provider: tests/integration/payments/test_reconciliation.py",
    ),
    "STATEMENT_TOO_LONG": "takes thousands of payments: tests/integration/payments/test_statements.py",
}
# Reasons with which any method answers, and which of them: to whom it applies.
_MUTATIONS = {"REQUEST_ID_REUSED"}
# How the methods are called that change nothing; every other one is a mutation.
READING = (
    "Get", "List", "Preview", "Explain", "Forecast", "Simulate", "Resolve", "Download", "BatchCheck",
    "BatchDownload", "BatchQuote",
)  # fmt: skip
_LISTS = {"PAGE_SIZE_TOO_LARGE", "PAGE_TOKEN_INVALID"}
_PLATFORM = {"MERCHANT_FORBIDDEN"}
# tests/contract/test_customers.py goes through every method.
_CUSTOMERS = {"CUSTOMER_FORBIDDEN"}


@pytest.fixture(scope="module")
def read() -> tuple[Contract, ...]:
    return contracts.read()


def nothing(answers: Iterable[tuple[str, str]]) -> None:
    """Fail with all answers, if there are any."""
    lines = [" ".join(answer) for answer in sorted(answers)]
    assert not lines, "\n" + "\n".join(lines)


def missing(expected: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """What no test has been answered, apart from what cannot be."""
    return {
        answer
        for answer in set(expected) - recorder.answers
        if answer[1] not in OUT_OF_REACH and " ".join(answer) not in OUT_OF_REACH
    }


def fields_of(contract: Contract, method: Method) -> set[str]:
    """The fields of a method's request."""
    request = next(message for message in contract.messages if message.name == method.input)
    return {field.name for field in request.fields}


def referred(method: Method, methods: dict[str, Method]) -> set[str]:
    """The reasons of methods that a comment refers to, as in "as in CreateStandingOrder"."""
    named = re.findall(r"(?:as in|that|What) ([A-Z]\w+)", method.comment)
    return {
        reason
        for name in named
        if name in methods and name != method.name
        for reason in {*methods[name].reasons, *referred(methods[name], methods)}
    }


def shared(contract: Contract, method: Method) -> set[str]:
    """The reasons of any method that this one can give."""
    fields = fields_of(contract, method)
    applicable = set(contract.shared_reasons) - _MUTATIONS - _LISTS - _PLATFORM - _CUSTOMERS
    if method.streams_in:
        # What is wrong with a row is said of the row.
        applicable -= {"FIELD_INVALID"}
    if "request_id" in fields:
        applicable |= _MUTATIONS
    if "page_token" in fields:
        applicable |= _LISTS
    if not method.name.startswith("Batch"):
        applicable |= _PLATFORM
    return applicable


def test_every_method_has_been_answered(read: tuple[Contract, ...]) -> None:
    nothing(missing((method.id, OK) for contract in read for method in contract.methods))


def test_every_documented_reason_has_been_seen(read: tuple[Contract, ...]) -> None:
    nothing(
        missing(
            (method.id, reason)
            for contract in read
            for method in contract.methods
            for reason in method.reasons
        )
    )


def test_every_shared_reason_has_been_seen_of_every_method(read: tuple[Contract, ...]) -> None:
    nothing(
        missing(
            (method.id, reason)
            for contract in read
            for method in contract.methods
            for reason in shared(contract, method)
        )
    )


def test_every_mutation_has_been_sent_again_and_answered_as_before(
    read: tuple[Contract, ...],
) -> None:
    nothing(
        missing(
            (method.id, REPLAYED)
            for contract in read
            for method in contract.methods
            if "request_id" in fields_of(contract, method)
        )
    )
    nothing(answer for answer in recorder.answers if answer[1] == REPLAYED_OTHERWISE)


@pytest.mark.embedded
@pytest.mark.parametrize("service", CONTRACTS)
async def test_every_mutation_has_left_an_audit_entry(
    suite: Suite, read: tuple[Contract, ...], service: str
) -> None:
    [contract] = [contract for contract in read if contract.service == service]
    mutations = {
        method.name
        for method in contract.methods
        if not method.name.startswith(READING) and f"{method.id} OK" not in OUT_OF_REACH
    }
    url = wiring.database_url(service, suite.stack.addresses, suite.deployment.keys, "_readonly")
    connection = await asyncpg.connect(url)
    try:
        left = await connection.fetch("SELECT DISTINCT method FROM audit_entries")
        silent = await connection.fetch("""
            SELECT DISTINCT method FROM requests
            WHERE NOT EXISTS (
                SELECT FROM audit_entries
                WHERE audit_entries.tenant = requests.tenant
                  AND audit_entries.request_id = requests.request_id)
        """)
    finally:
        await connection.close()
    assert mutations - {row["method"] for row in left} == set()
    assert [row["method"] for row in silent] == []


def test_every_list_has_been_read_beyond_its_first_page(read: tuple[Contract, ...]) -> None:
    nothing(
        missing(
            (method.id, PAGED)
            for contract in read
            for method in contract.methods
            if "page_token" in fields_of(contract, method)
        )
    )


def test_no_reason_is_given_that_is_not_documented(read: tuple[Contract, ...]) -> None:
    methods = {method.name: method for contract in read for method in contract.methods}
    documented = {
        (method.id, reason)
        for contract in read
        for method in contract.methods
        for reason in {
            OK,
            REPLAYED,
            PAGED,
            *method.reasons,
            *contract.shared_reasons,
            *referred(method, methods),
        }
    }
    nothing(recorder.answers - documented)


async def test_every_event_has_been_published_and_reads_as_the_contract_says(
    suite: Suite, read: tuple[Contract, ...]
) -> None:
    expected = {
        f"{contract.package}.{event.name}" for contract in read for event in contract.events
    }
    assert await published_types(suite) == expected


async def published_types(suite: Suite) -> set[str]:
    """The types of all events so far, each read and looked at by a plain client of NATS."""
    types: set[str] = set()
    async for message in suite.events(name.upper() for name in CONTRACTS):
        for event in CloudEventBatch.FromString(message.data).events:
            check_event(message.subject, event)
        types.add(message.subject)
    return types


def check_event(subject: str, event: CloudEvent) -> None:
    """A CloudEvent in the protobuf format whose data is the message of its type."""
    description = descriptor_pool.Default().FindMessageTypeByName(subject)
    assert event.proto_data.Unpack(GetMessageClass(description)())
    assert event.spec_version == "1.0"
    assert event.type == subject
    assert event.source == f"//recurring/{subject.split('.')[1]}"
    assert event.id == str(UUID(event.id))
    assert event.attributes["time"].ce_timestamp.seconds > 0
    assert event.attributes["tenant"].ce_string
    assert event.attributes["partitionkey"].ce_string
    assert event.attributes["traceparent"].ce_string


@pytest.mark.embedded
async def test_every_event_that_comes_again_in_another_batch_changes_nothing(
    suite: Suite, read: tuple[Contract, ...]
) -> None:
    """One fact, once: not by the inbox alone, but in every handler of every service."""
    await suite.sandbox.settle()
    before = await again.digests(suite)
    types = await again.publish_again(suite)
    await suite.sandbox.settle()
    after = await again.digests(suite)
    assert {table for table, digest in after.items() if digest != before[table]} == set()
    assert set(types) == {
        f"{contract.package}.{event.name}" for contract in read for event in contract.events
    }
