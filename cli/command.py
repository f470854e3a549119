"""How a coroutine becomes a command: a session, the options that all have, errors in words."""

import asyncio
import copy
import functools
import inspect
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

import grpc.aio
import typer
import typer.core
from typer.models import ParameterInfo

from cli.connect import this_session
from cli.errors import CommandError, describe_rpc_error
from cli.shown import shown
from cli.values import parse_number, parse_text

FAILED = 1
INTERRUPTED = 130
TERMINATED = 143

Body = Callable[..., Awaitable[None]]

_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
_MERCHANT = inspect.Parameter(
    "merchant",
    inspect.Parameter.KEYWORD_ONLY,
    default="",
    annotation=Annotated[str, typer.Option(help="Act for this merchant. Default: the stack's.")],
)
_AS_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Print JSON.")],
)
_CA_FILE = inspect.Parameter(
    "ca_file",
    inspect.Parameter.KEYWORD_ONLY,
    default="",
    annotation=Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Trust these certificate authorities. Default: RECURRING_CA_FILE, or the system's.",
        ),
    ],
)


# What help shows of a value whose option has no placeholder of its own.
_PLACEHOLDERS = {bool: "", int: "NUMBER", float: "NUMBER", Path: "FILE"}


def _with_placeholders(parameters: list[Any]) -> list[Any]:
    """Parameters whose help shows what to type, and not the Python types that typer shows."""
    for parameter in parameters:
        if isinstance(parameter, typer.core.TyperArgument):
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]  # noqa: ARG005
        elif parameter.metavar is None:
            kind = parameter.type_descriptor.annotation
            parameter.metavar = _PLACEHOLDERS.get(kind, "TEXT")
    return parameters


class Group(typer.core.TyperGroup):
    """A noun, whose commands are its verbs."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's own
        """The options of the group itself."""
        return _with_placeholders(super().get_params(ctx))


class StrictCommand(typer.core.TyperCommand):
    """A command that accepts each option once: otherwise the last of two would win silently."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer's own
        """The command's parameters."""
        return _with_placeholders(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own
        """Refuse an option that comes twice, unless it is one for lists."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, count in Counter(order).items():
            if count > 1 and parameter.param_type_name == "option" and not parameter.multiple:
                raise typer.BadParameter(
                    f"comes {count} times; give it once", param_hint=f"'{parameter.opts[0]}'"
                )
        return super().parse_args(ctx, args)


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
            parameter.name: parameter.annotation
            for parameter in parameters
            if is_dataclass(parameter.annotation)
        }
        declared = [option for parameter in parameters for option in _options(parameter)]
        defaults = {option.name: option.default for option in declared}
        options = [_strict(option) for option in declared]

        @functools.wraps(body)
        def run(
            *,
            context: typer.Context,
            merchant: str | None,
            as_json: bool,
            ca_file: str | None,
            **given: Any,  # noqa: ANN401
        ) -> None:
            given = {
                name: defaults[name] if value is None else value for name, value in given.items()
            }
            for group_name, kind in groups.items():
                chosen = {field.name: given.pop(field.name) for field in fields(kind)}
                given[group_name] = kind(**chosen)

            async def play() -> None:
                session = this_session(
                    merchant=merchant or "",
                    as_json=as_json,
                    ca_file=ca_file or "",
                    patience_seconds=patience_seconds,
                )
                async with session:
                    await body(session, **given)

            run_to_exit(play(), _shown_names(context))

        common = (_MERCHANT, _AS_JSON, _CA_FILE)
        signature = inspect.Signature([_CONTEXT, *options, *map(_strict, common)])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {
            parameter.name: parameter.annotation for parameter in signature.parameters.values()
        }
        app.command(name, cls=StrictCommand)(run)
        return body

    return register


def _options(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """A parameter of a body as the command has it; the fields of a dataclass one by one."""
    if not is_dataclass(parameter.annotation):
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        return
    for field in fields(parameter.annotation):
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )


def _shown_names(context: typer.Context) -> list[str]:
    """What help calls the options and arguments of a command."""
    return [
        it.opts[0] if it.param_type_name == "option" else it.metavar or ""
        for it in context.command.params
    ]


def _strict(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter that reads whole numbers in plain digits, and does not take blank for left out.

    A text that may be left out is None then, not blank, so that the two differ; where None is what
    leaving out means already, a blank text says that something is to be emptied. What must be there
    is for the service to judge, blank or not.
    """
    kind, *metadata = get_args(parameter.annotation)
    base, optional = _base_of(kind)
    info = next((entry for entry in metadata if isinstance(entry, ParameterInfo)), None)
    if info is None or info.parser is not None or base not in {int, str}:
        return parameter
    strict = copy.copy(info)
    default = parameter.default
    if base is int:
        strict.parser = partial(_read_number, low=_bound(info.min), high=_bound(info.max))
        strict.metavar = info.metavar or "NUMBER"
    elif optional or (default is inspect.Parameter.empty and get_origin(kind) is not list):
        return parameter
    else:
        strict.parser = parse_text
        strict.metavar = info.metavar or "TEXT"
        if default == "":
            default, kind = None, kind | None
    return parameter.replace(default=default, annotation=Annotated[kind, strict])


def _base_of(kind: Any) -> tuple[Any, bool]:  # noqa: ANN401 - any annotation
    """The type of one value of an annotation, and whether None may stand for it."""
    options = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    base = next(option for option in options if option is not NoneType)
    if get_origin(base) is list:
        # A list that is left out is None; none of its values may be blank.
        return get_args(base)[0], False
    return base, NoneType in options


def _bound(number: float | None) -> int | None:
    return None if number is None else int(number)


def _read_number(text: str | int, *, low: int | None, high: int | None) -> int:
    # Typer passes the default, which is a number already, through the parser too.
    return text if isinstance(text, int) else parse_number(text, low, high)


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Name the option at fault where its value is read only once the command runs."""
    try:
        yield
    except typer.BadParameter as error:
        error.param_hint = error.param_hint or f"'{option}'"
        raise


def run_to_exit(play: Any, options: Collection[str] = ()) -> None:  # noqa: ANN401 - a coroutine
    """Run a command's coroutine; an expected failure is put in words and ends with status 1."""
    try:
        asyncio.run(_until_terminated(play))
    except CommandError as error:
        fail(str(error))
    except grpc.aio.AioRpcError as error:
        fail(describe_rpc_error(error, options))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None


async def _until_terminated(play: Any) -> None:  # noqa: ANN401 - a coroutine
    """Await a coroutine; SIGTERM cancels it, so that what it has started ends with it."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await play


def fail(message: str) -> None:
    """Say what went wrong and end with status 1."""
    print(shown(message), file=sys.stderr)
    raise typer.Exit(FAILED)


def group(title: str) -> typer.Typer:
    """A group of commands about one noun."""
    return typer.Typer(cls=Group, help=title, no_args_is_help=True)


def one_of(kind: Any, help_text: str, *names: str, but: Collection[str] = ()) -> Any:  # noqa: ANN401 - enums share no type
    """An option whose values are the names of a protobuf enum, but for some."""
    values = [name for name, number in kind.items() if number and name not in but]

    def parse(text: str | int) -> int:
        # Typer passes the default, which is a number already, through the parser too.
        if isinstance(text, int):
            return text
        if not text.isascii() or (name := text.upper().replace("-", "_")) not in values:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(values)}")
        return int(kind.Value(name))

    return typer.Option(
        *names, parser=parse, metavar="|".join(values), help=help_text, show_default=False
    )
