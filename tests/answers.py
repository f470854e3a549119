"""Records the answers of the services to all tests, so that the last test finds what none has seen.

It also repeats what has been done, as a client does after a time-out, if it is told to.
"""

import copy
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
        # The mutations that were done since `repeat_all`: name, answer, and how to send each again.
        self._done: list[tuple[str, Any, Callable[[], Any]]] = []
        self._reasons = reasons

    def interceptors(self) -> list[grpc.aio.ClientInterceptor]:
        """For a channel: one for each kind of call, since grpc.aio takes one kind from each."""
        return [_Unary(self), _Stream(self)]

    async def repeat(self, name: str, request: Any, answer: Any, again: Any) -> None:  # noqa: ANN401
        """Note whether a request that was answered is answered the same again."""
        if getattr(request, "page_token", ""):
            self.answers.add((name, PAGED))
        # A dry run changes nothing, and is answered as things are.
        if (
            self.repeats
            and hasattr(request, "request_id")
            and not getattr(request, "dry_run", False)
        ):
            same = await (await again()) == answer
            self.answers.add((name, REPLAYED if same else REPLAYED_OTHERWISE))
            self._done.append((name, copy.deepcopy(answer), again))

    async def repeat_all(self) -> list[str]:
        """Send each mutation since the last time again; returns those answered otherwise, and how.

        After an erasure none is sent: the answers about a customer are erased as well.
        """
        done, self._done = self._done, []
        if any(name.endswith(".EraseCustomer") for name, _, _ in done):
            return []
        otherwise = []
        for name, answer, again in done:
            try:
                if await (await again()) != answer:
                    otherwise.append(f"{name}: another answer")
            except grpc.aio.AioRpcError as error:
                otherwise.append(f"{name}: {error.code().name} {error.details()}")
        return otherwise

    async def note(self, name: str, call: Any) -> Any:  # noqa: ANN401 - a call of either kind
        """Wait for a call's answer and note it; None if it was refused."""
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            self.answers |= {(name, reason) for reason in self._reasons(error)}
        else:
            self.answers.add((name, OK))
            # An import is answered with what is wrong with its rows. Elsewhere reasons are values.
            for problem in getattr(answer, "problems", ()):
                if isinstance(problem.reason, str):
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
            # As it was sent, whatever the test makes of it afterwards.
            sent = copy.deepcopy(request)
            again = functools.partial(continuation, client_call_details, sent)
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
