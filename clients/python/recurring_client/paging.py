"""Lists without their pages."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf.message import Message


async def pages(method: Callable[[Any], Awaitable[Any]], request: Message) -> AsyncIterator[Any]:
    """Every resource of a List method, from the first to the last; the request is left as it is.

    A page is asked for when the one before has been read.
    """
    next_request: Any = type(request)()
    next_request.CopyFrom(request)
    while True:
        answer = await method(next_request)
        # The resources of a List are its first repeated field (AIP-158); a report has others, too.
        repeated = (field for field in answer.DESCRIPTOR.fields if field.is_repeated)
        field = min(repeated, key=lambda field: field.number)
        for resource in getattr(answer, field.name):
            yield resource
        if not answer.next_page_token:
            return
        next_request.page_token = answer.next_page_token
