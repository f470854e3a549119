"""Lists without their pages."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf.message import Message


async def pages(method: Callable[[Any], Awaitable[Any]], request: Message) -> AsyncIterator[Any]:
    """Every resource of a List method, from the first to the last; the request is left as it is.

    A page is asked for when the one before has been read.
    """
    asked: Any = type(request)()
    asked.CopyFrom(request)
    while True:
        answer = await method(asked)
        # A List answers with one repeated field and the token (AIP-158).
        [field] = [each for each in answer.DESCRIPTOR.fields if each.is_repeated]
        for resource in getattr(answer, field.name):
            yield resource
        if not answer.next_page_token:
            return
        asked.page_token = answer.next_page_token
