"""Remembers what the services have answered to the tests, so that the last can say what none saw.

It also repeats what has been done, as a client does after a time-out, if it is told to.
"""

import functools
from collections.abc import Callable
from typing import Any

import grpc

OK = "OK"
# A mutation that was sent again was answered as before, or was not.
REPLAYED = "REPLAYED"
REPLAYED_OTHERWISE = "REPLAYED_OTHERWISE"
# A list was read beyond its first page.
PAGED = "PAGED"
# A method, for example `scheduler.GetOrder`, and OK or the reason of a refusal.
Answer = tuple[str, str]
Reasons = Callable[[grpc.aio.AioRpcError], set[str]]


class Recorder:
    """Notes each answer of the calls that go through its interceptors."""

    def __init__(self, reasons: Reasons) -> None:
        self.answers: set[Answer] = set()
        # Whether each mutation that was done is sent once more.
        self.repeats = False
        self._reasons = reasons

    def interceptors(self) -> list[grpc.aio.ClientInterceptor]:
        """For a channel: one for each kind of call, since grpc.aio takes one kind from each."""
        return [_Unary(self), _Stream(self)]

    async def repeat(self, name: str, request: Any, answer: Any, again: Any) -> None:  # noqa: ANN401
        """Note whether a request that was answered is answered the same again."""
        if getattr(request, "page_token", ""):
            self.answers.add((name, PAGED))
        if self.repeats and hasattr(request, "request_id"):
            same = await (await again()) == answer
            self.answers.add((name, REPLAYED if same else REPLAYED_OTHERWISE))

    async def note(self, name: str, call: Any) -> Any:  # noqa: ANN401 - a call of either kind
        """Wait for a call's answer and note it; None if it was refused."""
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            self.answers |= {(name, reason) for reason in self._reasons(error)}
        else:
            self.answers.add((name, OK))
            # An import is answered with what is wrong with its rows.
            for problem in getattr(answer, "problems", ()):
                self.answers.add((name, problem.reason))
            return answer
        return None


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def intercept_unary_unary(
        self,
        continuation: Callable[[Any, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        call, name = await continuation(client_call_details, request), _name(client_call_details)
        answer = await self._recorder.note(name, call)
        if answer is not None and not isinstance(request, bytes):
            again = functools.partial(continuation, client_call_details, request)
            await self._recorder.repeat(name, request, answer, again)
        return call


class _Stream(grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def intercept_stream_unary(
        self,
        continuation: Callable[[Any, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        call = await continuation(client_call_details, request_iterator)
        await self._recorder.note(_name(client_call_details), call)
        return call


def _name(details: grpc.aio.ClientCallDetails) -> str:
    path: str | bytes = details.method
    text = path.decode() if isinstance(path, bytes) else path
    package, _, method = text.strip("/").partition("/")
    return f"{package.split('.')[1]}.{method}"
