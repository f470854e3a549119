"""Neither an answer nor its duration reveals whether another merchant has a resource."""

import random
import statistics
import time
from collections.abc import Awaitable, Iterator
from typing import Any

import grpc
import pytest

from tests.contract.customer import Customer, new_customer
from tests.contract.every_call import CONTRACTS, Call, platform_calls
from tests.suite import Client, Suite, refused

# One of each service, about something that the other merchant does have.
ASKED = (
    "catalog.GetProduct",
    "scheduler.GetStandingOrder",
    "payments.GetMandate",
    "notify.GetContact",
)
TIMES = 200
# Of the lower quartiles, which other work on the machine moves least. A query of the database is far
# more, as the last test shows.
DIFFERENCE_MAX = 0.05
# The machine has other things to do; but what takes longer by itself does so each time.
ROUNDS = 5


@pytest.fixture
async def ann(suite: Suite) -> Customer:
    """Ann, whose merchant has all that is asked for."""
    ann = await new_customer(suite)
    request = await ann.ask()
    request.standing_order_id = "weekly"
    await ann.shop.scheduler.CreateStandingOrder(request)
    return ann


async def answer(call: Call, client: Client) -> bytes:
    """All that a refused caller gets to see, apart from the name that it asked for."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call.make(client)
    shown = f"{refusal.value.code()} {refusal.value.details()} ".encode()
    for name, value in refusal.value.trailing_metadata() or ():
        shown += name.encode() + b"=" + (value if isinstance(value, bytes) else value.encode())
    return shown


async def test_a_refusal_is_the_same_to_the_byte_whether_it_is_there_or_not(
    suite: Suite, ann: Customer
) -> None:
    other_merchant = suite.client()
    # Of the same length, so that what is said of it has the same length, too.
    nobody = "x" * len(ann.shop.merchant)
    there = {call.id: call for call in platform_calls(ann.shop.merchant)}
    nowhere = {call.id: call for call in platform_calls(nobody)}
    for name, call in there.items():
        real = await answer(call, other_merchant)
        assert b"MERCHANT_FORBIDDEN" in real
        made_up = await answer(nowhere[name], other_merchant)
        assert real.replace(ann.shop.merchant.encode(), nobody.encode()) == made_up, name


@pytest.mark.parametrize("name", ASKED)
async def test_a_refusal_takes_the_same_time_whether_it_is_there_or_not(
    suite: Suite, ann: Customer, name: str
) -> None:
    other_merchant = suite.client()
    there, nowhere = (
        next(call for call in platform_calls(merchant) if call.id == name)
        for merchant in (ann.shop.merchant, "x" * len(ann.shop.merchant))
    )
    assert (await there.make(ann.shop)).name
    differences: list[float] = []
    while not differences or min(differences) > DIFFERENCE_MAX:
        assert len(differences) < ROUNDS, differences
        differences.append(await difference((there, other_merchant), (nowhere, other_merchant)))


async def test_a_query_of_the_database_would_be_seen(suite: Suite) -> None:
    """What is not there is looked for where it may be; so refusals differ by that where they may."""
    merchant = suite.client()
    own, foreign = (
        next(call for call in platform_calls(owner) if call.id == "catalog.GetProduct")
        for owner in (merchant.merchant, "x" * len(merchant.merchant))
    )
    assert await difference((own, merchant), (foreign, merchant)) > 2 * DIFFERENCE_MAX


Question = tuple[Call, Client]


async def difference(*questions: Question) -> float:
    """By how much the lower quartiles of two calls differ, asked in turn and in no order."""
    seconds: list[list[float]] = [[], []]
    for _ in range(TIMES):
        for place in random.sample((0, 1), 2):
            call, client = questions[place]
            seconds[place].append(await taken(call.make(client)))
    shorter, longer = sorted(statistics.quantiles(samples)[0] for samples in seconds)
    return longer / shorter - 1


async def taken(call: Awaitable[object]) -> float:
    started = time.perf_counter()
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    return time.perf_counter() - started


# Names that a request may leave out, as they would be; and filters that are no names.
OPTIONAL_NAMES = {
    "scheduler.CreateStandingOrder standing_order.mandate": "{name}/customers/ann/mandates/m1",
    "catalog.PreviewQuote standing_order": "{name}/standingOrders/weekly",
    "scheduler.PreviewPriceChange price": "{name}/products/tea/prices/new",
    "scheduler.ListStandingOrders customer": "{name}/customers/ann",
    "scheduler.ListStandingOrders product": "{name}/products/tea",
    "scheduler.ListPriceProtections customer": "{name}/customers/ann",
    "scheduler.ListPriceProtections standing_order": "{name}/standingOrders/weekly",
    "scheduler.ListPriceProtections product": "{name}/products/tea",
    "payments.AmendMandate terms.standing_orders": "{name}/standingOrders/weekly",
    "payments.CreateMandate mandate.standing_orders": "{name}/standingOrders/weekly",
    "payments.ListDisputes charge": "{name}/customers/ann/charges/weekly-1",
    "payments.ListDocuments customer": "{name}/customers/ann",
    "payments.ListDocuments charge": "{name}/customers/ann/charges/weekly-1",
    "scheduler.ListOrders customer": "{name}/customers/ann",
    "notify.ListNotices subject_resource": "{name}/standingOrders/weekly/orders/1",
    **{f"{service}.ListAuditEntries resource": "{name}/any/thing" for service in CONTRACTS},
}
# A filter by the name of whatever it is.
OF_ANY_COLLECTION = {"resource", "subject_resource"}
NO_NAMES = {
    "parent", "page_token", "phone", "subject", "region_code", "request_id", "time_zone",
}  # fmt: skip


def names_in(message: Any, path: str = "") -> Iterator[tuple[Any, str, str]]:  # noqa: ANN401
    """The fields of a message and below it that hold a name: where, which, and the path to it."""
    for field, value in message.ListFields():
        values = list(value) if field.is_repeated else [value]
        for element in values:
            if field.type == field.TYPE_MESSAGE and field.message_type.file.package.startswith(
                "recurring"
            ):
                yield from names_in(element, f"{path}{field.name}.")
            elif isinstance(element, str) and element.startswith("merchants/"):
                yield message, field.name, path + field.name


def named_calls(merchant: str) -> Iterator[tuple[Call, str]]:
    """Every call of a merchant's program, with each of its names by its path."""
    for call in platform_calls(merchant):
        for _, _, path in names_in(call.request):
            yield call, path
    for optional in OPTIONAL_NAMES:
        method, path = optional.split(" ")
        yield next(call for call in platform_calls(merchant) if call.id == method), path


def with_name(call: Call, path: str, name: str) -> Call:
    """The call with another name there."""
    request = type(call.request)()
    request.CopyFrom(call.request)
    *parents, field = path.split(".")
    message: Any = request
    for parent in parents:
        parent_message = getattr(message, parent)
        message = (
            parent_message[0]
            if message.DESCRIPTOR.fields_by_name[parent].is_repeated
            else parent_message
        )
    if message.DESCRIPTOR.fields_by_name[field].is_repeated:
        getattr(message, field)[:] = [name]
    else:
        setattr(message, field, name)
    return Call(call.service, call.method, request)


def value_at(call: Call, path: str, merchant: str) -> str:
    for message, field, at in names_in(call.request):
        if at == path:
            value = getattr(message, field)
            return str(value if isinstance(value, str) else value[0])
    return OPTIONAL_NAMES[f"{call.id} {path}"].format(name=f"merchants/{merchant}")


async def test_a_name_of_another_merchant_is_refused_wherever_it_stands(
    suite: Suite, ann: Customer
) -> None:
    own, foreign = suite.client(), ann.shop.merchant
    taken = {}
    for call, path in named_calls(own.merchant):
        name = value_at(call, path, own.merchant).replace(own.merchant, foreign)
        refusal = await refused(with_name(call, path, name).make(own))
        if refusal.code not in {"PERMISSION_DENIED", "INVALID_ARGUMENT"}:
            taken[f"{call.id} {path}"] = refusal
    assert taken == {}


@pytest.mark.parametrize(
    "form", ["x", "merchants/{own}/zebras/z", "merchants/{own}/customers/ann/", " "]
)
async def test_a_name_of_another_form_is_refused_wherever_it_stands(
    suite: Suite, form: str
) -> None:
    own = suite.client()
    taken = {}
    for call, path in named_calls(own.merchant):
        if form.startswith("merchants/") and path in OF_ANY_COLLECTION:
            continue
        name = form.format(own=own.merchant)
        refusal = await refused(with_name(call, path, name).make(own))
        if refusal.code != "INVALID_ARGUMENT":
            taken[f"{call.id} {path}"] = refusal
    assert taken == {}


def test_no_filter_by_a_name_is_left_out() -> None:
    filters = {
        f"{call.id} {field.name}"
        for call in platform_calls("acme")
        if call.method.startswith(("List", "Batch"))
        for field in call.request.DESCRIPTOR.fields
        if field.type == field.TYPE_STRING and field.name not in NO_NAMES
    }
    named = {f"{call.id} {path}" for call, path in named_calls("acme")}
    assert filters <= named
