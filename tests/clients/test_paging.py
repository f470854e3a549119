"""Every list is read to its end by the Python client."""

import re
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2
from recurring_client import pages

LISTS: list[MethodDescriptor] = [
    method
    for contract in (catalog_pb2, scheduler_pb2, payments_pb2, notify_pb2)
    for service in contract.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if method.name.startswith("List")
]


@pytest.mark.parametrize("method", LISTS, ids=lambda method: str(method.name))
async def test_every_list_gives_its_resources_page_by_page(method: MethodDescriptor) -> None:
    request_type = GetMessageClass(method.input_type)
    response_type = GetMessageClass(method.output_type)
    repeated = {it.name for it in method.output_type.fields if it.is_repeated}
    resources = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name.removeprefix("List")).lower()
    # Some fields have a shorter name than their method.
    resources = next(it for it in (resources, *sorted(repeated)) if it in repeated)

    async def answer(request: Any) -> Any:  # noqa: ANN401 - of that method
        response: Any = response_type(next_page_token="" if request.page_token else "2")
        for field in repeated:
            getattr(response, field).add()
        return response

    read = [it async for it in pages(answer, request_type())]

    assert read == [getattr(response_type(), resources).add()] * 2
