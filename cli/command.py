"""How a coroutine becomes a command: a session, the options that all have, errors in words."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any

import grpc.aio
import typer

from cli.connect import this_session
from cli.errors import CommandError, describe_rpc_error
from cli.shown import shown

FAILED = 1
INTERRUPTED = 130

Body = Callable[..., Awaitable[None]]

_MERCHANT = inspect.Parameter(
    "merchant",
    inspect.Parameter.KEYWORD_ONLY,
    default="",
    annotation=Annotated[str, typer.Option(help="Whose resources; default: the stack's own.")],
)
_AS_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Protobuf JSON, for programs.")],
)
_CA_FILE = inspect.Parameter(
    "ca_file",
    inspect.Parameter.KEYWORD_ONLY,
    default="",
    annotation=Annotated[
        str,
        typer.Option(help="Whom to trust, for TLS; default: RECURRING_CA_FILE, or the system's."),
    ],
)


def command(
    app: typer.Typer, name: str, *, patience_seconds: float = 0.0
) -> Callable[[Body], Body]:
    """Register `async def body(session, …)`; its other parameters become the command's.

    A parameter that is a dataclass stands for its fields, so that commands can share options.
    Expected failures are printed without a traceback and end with status 1.
    """

    def register(body: Body) -> Body:
        _, *parameters = inspect.signature(body).parameters.values()
        groups: dict[str, Any] = {
            each.name: each.annotation for each in parameters if is_dataclass(each.annotation)
        }
        shown = [one for each in parameters for one in _options(each)]

        @functools.wraps(body)
        def run(*, merchant: str, as_json: bool, ca_file: str, **given: Any) -> None:  # noqa: ANN401
            for group_name, kind in groups.items():
                chosen = {each.name: given.pop(each.name) for each in fields(kind)}
                given[group_name] = kind(**chosen)

            async def play() -> None:
                session = this_session(
                    merchant=merchant,
                    as_json=as_json,
                    ca_file=ca_file,
                    patience_seconds=patience_seconds,
                )
                async with session:
                    await body(session, **given)

            run_to_exit(play())

        signature = inspect.Signature([*shown, _MERCHANT, _AS_JSON, _CA_FILE])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
        app.command(name)(run)
        return body

    return register


def _options(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """A parameter of a body as the command has it; the fields of a dataclass one by one."""
    if not is_dataclass(parameter.annotation):
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        return
    for each in fields(parameter.annotation):
        yield inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=each.type,
        )


def run_to_exit(play: Any) -> None:  # noqa: ANN401 - a coroutine
    """Run a command's coroutine; an expected failure is put in words and ends with status 1."""
    try:
        asyncio.run(play)
    except CommandError as error:
        fail(str(error))
    except grpc.aio.AioRpcError as error:
        fail(describe_rpc_error(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def fail(message: str) -> None:
    """Say what went wrong and end with status 1."""
    print(shown(message), file=sys.stderr)
    raise typer.Exit(FAILED)


def group(title: str) -> typer.Typer:
    """A noun, whose commands are its verbs."""
    return typer.Typer(help=title, no_args_is_help=True)


def one_of(kind: Any) -> Any:  # noqa: ANN401 - protobuf's enums share no type, typer's options neither
    """An option whose values are the names of a protobuf enum."""
    names = [name for name, number in kind.items() if number]

    def parse(text: str | int) -> int:
        # Typer passes the default, which is a number already, through the parser too.
        if isinstance(text, int):
            return text
        if (name := text.upper().replace("-", "_")) not in names:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(names)}")
        return int(kind.Value(name))

    return typer.Option(parser=parse, metavar="|".join(names), show_default=False)
