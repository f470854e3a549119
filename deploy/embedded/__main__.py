"""`python -m deploy.embedded`: start, stop and inspect the stack on this machine."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.embedded.addresses import Addresses
from deploy.embedded.process import PartError
from deploy.embedded.program import ROOT
from deploy.embedded.stack import EmbeddedStack, Status

HOME_VARIABLE = "RECURRING_HOME"
DEFAULT_HOME = ROOT / ".recurring"
SECOND_ACCOUNT_VARIABLE = "RECURRING_SECOND_ACCOUNT"
HEALTHY = {"ready", "reachable"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        home = Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
        addresses = Addresses.from_environment(os.environ)
        stack = EmbeddedStack(home, addresses, second_account=_has_second_account())
        return int(chosen.run(stack, chosen))
    except PartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _has_second_account() -> bool:
    """Whether the environment asks for it; raises PartError for what is neither yes nor no."""
    text = os.environ.get(SECOND_ACCOUNT_VARIABLE) or "false"
    if text not in {"true", "false"}:
        raise PartError(f"{SECOND_ACCOUNT_VARIABLE}={text}: must be true or false")
    return text == "true"


def up(stack: EmbeddedStack, _: argparse.Namespace) -> int:
    """Start the parts that are not running, and show the addresses of all."""
    started = stack.up()
    _show(stack.status())
    print()
    print(f"started: {', '.join(started)}" if started else "everything ran already")
    print(f"for clients: {stack.description_file}")
    return 0


def down(stack: EmbeddedStack, _: argparse.Namespace) -> int:
    """Stop the stack; its data stay."""
    stopped = stack.down()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing ran")
    return 0


def status(stack: EmbeddedStack, _: argparse.Namespace) -> int:
    """Show the state of every part. Exit with 1 unless all are running."""
    parts = stack.status()
    _show(parts)
    return 0 if all(part.state in HEALTHY for part in parts) else 1


def restart(stack: EmbeddedStack, chosen: argparse.Namespace) -> int:
    """Stop one part and start it again."""
    stack.restart(chosen.part)
    return 0


def kill(stack: EmbeddedStack, chosen: argparse.Namespace) -> int:
    """Kill one part with SIGKILL."""
    stack.kill(chosen.part)
    return 0


def service(stack: EmbeddedStack, chosen: argparse.Namespace) -> int:
    """Run an operator's command of a service, for example `service payments status`."""
    process = stack.process_of(chosen.part)
    return subprocess.run(
        [*process.command, *chosen.arguments],
        env=dict(process.environment),
        cwd=process.working_folder,
        check=False,
    ).returncode


def run(stack: EmbeddedStack, chosen: argparse.Namespace) -> int:
    """Run a command while the stack runs. If it did not run before, stop it afterwards."""
    was_running = any(part.pid for part in stack.status())
    try:
        if stack.up():
            _show(stack.status())
            print(flush=True)
        environment = {**os.environ, HOME_VARIABLE: str(stack.home)}
        return subprocess.run(chosen.command, env=environment, check=False).returncode
    except OSError as error:
        raise PartError(f"{chosen.command[0]}: {error.strerror}") from error
    finally:
        if not was_running:
            stack.down()


def destroy(stack: EmbeddedStack, _: argparse.Namespace) -> int:
    """Stop the stack and delete its data."""
    stack.destroy()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.embedded",
        description="Start, stop and inspect the stack on this machine.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (up, down, status, restart, kill, service, run, destroy):
        described = commands.add_parser(
            command.__name__, help=command.__doc__, description=command.__doc__
        )
        described.set_defaults(run=command)
        if command in (restart, kill, service):
            described.add_argument("part", metavar="PART", help="a part, as `status` shows it")
        if command is service:
            described.add_argument(
                "arguments",
                nargs=argparse.REMAINDER,
                metavar="COMMAND",
                help="the service's command and its options",
            )
        if command is run:
            described.add_argument(
                "command", nargs="+", metavar="COMMAND", help="the command, after `--`"
            )
    return parser


def _show(parts: Sequence[Status]) -> None:
    rows = [("part", "address", "state", "process")]
    rows += [(part.part, part.address, part.state, str(part.pid or "")) for part in parts]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )


if __name__ == "__main__":
    sys.exit(main())
