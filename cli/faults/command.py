"""`recurring faults`: break a deployment in many ways, and see that what must hold does."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command import FAILED, StrictCommand, fail, run_to_exit
from cli.errors import CommandError
from cli.faults.generate import NOT_AT_RANDOM, generate
from cli.faults.history import History, read_history
from cli.faults.play import Report, total, wrong_steps
from cli.faults.staging import read_target
from cli.faults.suite import OpenTarget, Outcome, play_all
from cli.faults.target import Fault, Target

if TYPE_CHECKING:
    from cli.faults.embedded import EmbeddedTarget

SEEDS = 20
SOAK_MINUTES = 60.0
SHRINK_PLAYS_MAX = 40
VIOLATIONS_SHOWN_MAX = 20
TARGETS_AT_ONCE_MAX = 8
PROCESSES_MAX = 10
OPEN_TRIES = 3
# A target has few faults, a stack of one's own hundreds.
NAMES_SHOWN_MAX = 40
# Of two options of which one has no effect beside the other.
EXCLUSIVE = (
    *(("history", other) for other in ("points", "seeds", "seed", "only")),
    *(("points", other) for other in ("target", "seeds", "shrink_plays")),
    *(("target", other) for other in ("processes",)),
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @app.command("faults", cls=StrictCommand)
    def faults(
        context: typer.Context,
        seeds: Annotated[int, typer.Option(min=1, help="So many histories.")] = SEEDS,
        seed: Annotated[int, typer.Option(min=0, help="The first one's seed.")] = 1,
        only: Annotated[str, typer.Option(help="Only faults whose names contain this.")] = "",
        history: Annotated[
            Path | None, typer.Option(help="Play what a run has printed, instead of seeds.")
        ] = None,
        points: Annotated[
            bool,
            typer.Option("--points", help="Try every crash point once each way, instead of seeds."),
        ] = False,
        target: Annotated[
            Path | None,
            typer.Option(
                help="Your own staging deployment, as a file describes it (docs/reliability.md)."
            ),
        ] = None,
        real_time: Annotated[
            bool,
            typer.Option("--real-time", help="Needed where the target has no simulated clock."),
        ] = False,
        stacks: Annotated[
            int,
            typer.Option(
                min=1,
                max=TARGETS_AT_ONCE_MAX,
                help="Without a target: so many stacks side by side.",
            ),
        ] = 1,
        processes: Annotated[
            int,
            typer.Option(min=1, max=PROCESSES_MAX, help="Of each service, on stacks of its own."),
        ] = 1,
        shrink_plays: Annotated[
            int, typer.Option(min=0, help="Plays to make a failing history shorter with.")
        ] = SHRINK_PLAYS_MAX,
        keep_going: Annotated[
            bool, typer.Option("--keep-going", help="Play all, whatever fails.")
        ] = False,
    ) -> None:
        """Play histories of a shop while parts of the suite fail; status 1 if something breaks.

        Each seed is a history: standing orders, what customers and merchants do, time, and faults.
        At its end all faults are healed, and the proof, the contracts and the sandbox's record must
        agree. A history that fails is made shorter, and printed for --history. Without a target,
        stacks of its own are started on this machine and deleted afterwards.
        """
        given = {name for name in context.params if _is_given(context, name)}
        if problems := _misplaced(given):
            fail("\n".join(problems))
        run_to_exit(
            _run(
                Choice(
                    range(seed, seed + seeds),
                    only,
                    history,
                    points,
                    target,
                    real_time,
                    stacks if target is None else 1,
                    0 if points else shrink_plays,
                    processes,
                    keep_going or points,
                ),
            )
        )

    @app.command("soak", cls=StrictCommand)
    def soak(
        minutes: Annotated[float, typer.Option(min=0.5, help="For so long.")] = SOAK_MINUTES,
    ) -> None:
        """Play histories on one stack for an hour, and watch what its processes and databases take."""
        run_to_exit(_soak(minutes))


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _misplaced(given: Collection[str]) -> list[str]:
    """What is wrong with the options that were given together."""
    problems = [
        f"{_option(one)} goes without {_option(other)}"
        for one, other in EXCLUSIVE
        if one in given and other in given
    ]
    if "real_time" in given and "target" not in given:
        problems.append("--real-time goes with --target alone")
    return problems


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


async def _soak(minutes: float) -> None:
    # As stacks of one's own.
    from cli.faults.soak import soak  # noqa: PLC0415

    async with _own_stack() as target:
        started = time.monotonic()
        reports, peaks = await soak(target, minutes * 60, _show_report)
        outcome = Outcome(reports, seconds=time.monotonic() - started)
    outcome.violations = [*total(reports).violations, *peaks.violations()]
    for line in peaks.lines():
        typer.echo(line)
    _summarize(outcome)
    if outcome.violations:
        raise typer.Exit(FAILED)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for."""

    seeds: range
    only: str = ""
    history: Path | None = None
    points: bool = False
    target: Path | None = None
    real_time: bool = False
    stacks: int = 1
    shrink_plays: int = SHRINK_PLAYS_MAX
    processes: int = 1
    keep_going: bool = False


async def _run(choice: Choice) -> None:
    open_target, faults, simulated = _place(choice)
    histories = _histories(choice, faults, simulated=simulated)
    outcome = Outcome()
    try:
        await play_all(
            histories,
            open_target,
            outcome,
            targets_at_once=choice.stacks,
            on_report=_show_report,
            shrink_plays_max=choice.shrink_plays,
            keep_going=choice.keep_going,
        )
    finally:
        _summarize(outcome)
        _show_interrupted(outcome)
    if outcome.violations:
        raise typer.Exit(FAILED)


def _histories(
    choice: Choice, faults: Mapping[str, Fault], *, simulated: bool
) -> Iterable[History]:
    """The histories to play, one at least. Raises CommandError if there is none."""
    if choice.history is not None:
        return [_read_history(choice.history, faults)]
    names = sorted(name for name in faults if choice.only in name and name not in NOT_AT_RANDOM)
    if choice.points:
        return _crash_histories(choice, names)
    if not names:
        raise CommandError(
            f"--only: no fault has {choice.only!r} in its name; there are {_some_names(faults)}"
        )
    return (generate(seed, names, simulated=simulated) for seed in choice.seeds)


def _read_history(file: Path, faults: Mapping[str, Fault]) -> History:
    try:
        history = read_history(file)
    except CommandError as error:
        raise CommandError(f"--history: {error}") from error
    if wrong := wrong_steps(history, faults):
        raise CommandError("\n".join(f"--history: {file}: {line}" for line in wrong))
    return history


def _crash_histories(choice: Choice, names: Sequence[str]) -> list[History]:
    # Only stacks of one's own have crash points, and what these are made of.
    from cli.faults.crash_histories import crash_histories  # noqa: PLC0415

    histories = list(crash_histories(names))
    if not histories:
        raise CommandError(f"--only: no crash point has {choice.only!r} in its name")
    left = [history for history in histories if history.seed >= choice.seeds.start]
    if not left:
        raise CommandError(f"--seed: there are {len(histories)} histories of crash points")
    return left


def _some_names(faults: Mapping[str, Fault]) -> str:
    """Those that can be chosen; of many, the first words."""
    names = faults.keys() - NOT_AT_RANDOM
    if len(names) > NAMES_SHOWN_MAX:
        names = {name.split()[0].rstrip(":") for name in names}
    return ", ".join(sorted(names))


def _place(choice: Choice) -> tuple[OpenTarget, Mapping[str, Fault], bool]:
    """How a target is had, which faults it has, and whether its clock is simulated."""
    if choice.target is not None:
        try:
            staging = read_target(choice.target)
        except CommandError as error:
            raise CommandError(f"--target: {error}") from error
        if not staging.simulated and not choice.real_time:
            raise CommandError(
                f"{choice.target} has no simulated clock: nothing falls due while a history is played."
                " Say --real-time to play actions and faults alone."
            )

        @asynccontextmanager
        async def there() -> AsyncIterator[Target]:
            yield staging

        return there, staging.faults, staging.simulated
    return (
        partial(_own_stack, choice.processes),
        _own_type()(Path(tempfile.gettempdir()) / "none").faults,
        True,
    )


def _own_type() -> "type[EmbeddedTarget]":
    """What a stack of one's own is made of, which need not be installed where there is a target."""
    try:
        from cli.faults.embedded import EmbeddedTarget  # noqa: PLC0415
    except ImportError as error:
        raise CommandError(
            f"stacks of one's own need `pip install recurring[embedded]` ({error}); else give --target"
        ) from error
    return EmbeddedTarget


@asynccontextmanager
async def _own_stack(processes: int = 1) -> AsyncIterator["EmbeddedTarget"]:
    """A stack in a folder of its own, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="recurring-faults-") as name:
        # PostgreSQL runs under an account of its own where the command is root's.
        await asyncio.to_thread(Path(name).chmod, 0o711)
        target = await _opened(Path(name), processes)
        try:
            yield target
        finally:
            await target.close()


async def _opened(folder: Path, processes: int) -> "EmbeddedTarget":
    """A stack that has come up; another program may have taken one of its ports meanwhile."""
    for tries_left in reversed(range(OPEN_TRIES)):
        target = _own_type()(folder / f"stack-{tries_left}", processes)
        try:
            await target.open()
        except asyncio.CancelledError:
            await target.close()
            raise
        except CommandError:
            await target.close()
            if not tries_left:
                raise
        else:
            return target
    raise AssertionError("the last try returns or raises")


def _show_report(report: Report) -> None:
    what = "; ".join(map(partial(_with_effect, report), report.faults)) or "no fault"
    ends = ", ".join(f"{count} {state}" for state, count in sorted(report.orders.items()))
    how = f"{len(report.violations)} VIOLATIONS" if report.violations else "ok"
    typer.echo(
        f"seed {report.seed}: {how}, {report.seconds:.1f} s, {report.actions} actions, {what}, "
        f"orders: {ends or 'none'}"
    )
    # At once: to make the history shorter takes many plays.
    for violation in report.violations[:VIOLATIONS_SHOWN_MAX]:
        typer.echo(f"{violation.clause}: {violation.text}")


def _by_kind(faults: Counter[str]) -> str:
    """How many there are, in all and by the first words of their names."""
    kinds: Counter[str] = Counter(name.split()[0].rstrip(":") for name in faults.elements())
    each = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return f"{faults.total()} ({each})" if faults.total() else "0"


def _with_effect(report: Report, fault: str) -> str:
    return f"{fault} (without effect)" if report.idle[fault] else fault


def _show_interrupted(outcome: Outcome) -> None:
    for seed in sorted(outcome.seeds_under_way):
        typer.echo(f"interrupted: seed {seed} was not played to its end")
    if outcome.is_shrinking:
        typer.echo("interrupted: the history that failed may become shorter")


def _summarize(outcome: Outcome) -> None:
    whole = total(outcome.reports)
    count = len(outcome.reports)
    typer.echo(
        f"{count} histories in {outcome.seconds:.0f} s ({outcome.seconds / max(count, 1):.1f} s each): "
        f"{_by_kind(whole.faults)} faults, {_by_kind(whole.idle)} of them without effect, "
        f"{whole.actions} actions, {whole.answers} answers, "
        f"{whole.refusals.total()} refusals, {whole.orders.total()} orders "
        f"({', '.join(f'{number} {state}' for state, number in whole.orders.most_common())}), "
        f"{len(whole.violations)} violations"
    )
    for violation in outcome.violations[:VIOLATIONS_SHOWN_MAX]:
        typer.echo(f"{violation.clause}: {violation.text}")
    if outcome.failure is not None:
        typer.echo(
            f"the shortest history found that breaks it, for --history:\n{outcome.failure.to_json()}"
        )
