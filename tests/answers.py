"""Remembers what the services have answered to the tests, so that the last can say what none saw."""

from collections.abc import Callable
from typing import Any

import grpc

OK = "OK"
# A method, for example `scheduler.GetOrder`, and OK or the reason of a refusal.
Answer = tuple[str, str]
Reasons = Callable[[grpc.aio.AioRpcError], set[str]]


class Recorder:
    """Notes each answer of the calls that go through its interceptors."""

    def __init__(self, reasons: Reasons) -> None:
        self.answers: set[Answer] = set()
        self._reasons = reasons

    def interceptors(self) -> list[grpc.aio.ClientInterceptor]:
        """For a channel: one for each kind of call, since grpc.aio takes one kind from each."""
        return [_Unary(self), _Stream(self)]

    async def note(self, path: bytes, call: Any) -> Any:  # noqa: ANN401 - a call of either kind
        """Wait for a call's answer and note it."""
        package, _, method = path.decode().strip("/").partition("/")
        name = f"{package.split('.')[1]}.{method}"
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            self.answers |= {(name, reason) for reason in self._reasons(error)}
        else:
            self.answers.add((name, OK))
            # An import is answered with what is wrong with its rows.
            for problem in getattr(answer, "problems", ()):
                self.answers.add((name, problem.reason))
        return call


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, unused-ignore]
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def intercept_unary_unary(
        self,
        continuation: Callable[[Any, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        call = await continuation(client_call_details, request)
        return await self._recorder.note(_path(client_call_details), call)


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
        return await self._recorder.note(_path(client_call_details), call)


def _path(details: grpc.aio.ClientCallDetails) -> bytes:
    method: str | bytes = details.method
    return method if isinstance(method, bytes) else method.encode()
