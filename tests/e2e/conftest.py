"""Stacks of their own: a proof looks at everything that is on one, and another exports its traces."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from deploy.embedded.stack import EmbeddedStack
from tests.conftest import whole_stack
from tests.e2e.command_server import CommandServer
from tests.e2e.traced_stack import Collector, Played, play

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Recurring:
    """The command, as people and programs run it."""

    stack: EmbeddedStack
    server: CommandServer

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end; both outputs are kept."""
        return self.server.run(arguments, self._environment())

    @contextmanager
    def running(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """Run it and read its output line by line; it is ended with the block."""
        with subprocess.Popen(
            self._command(arguments),
            env=self._environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "cli", *arguments]

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("RECURRING_")
        }
        # Lines are to be read when they are printed, and at a width that is the same everywhere.
        return {
            **inherited,
            "RECURRING_HOME": str(self.stack.home),
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
        }


@pytest.fixture(scope="session")
def stack(servers_folder: Path) -> Iterator[EmbeddedStack]:
    with whole_stack(servers_folder / "e2e", "e2e", durable=False) as stack:
        yield stack


@pytest.fixture(scope="session")
def command_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    server = CommandServer(tmp_path_factory.mktemp("commands"), ROOT)
    yield server
    server.close()


@pytest.fixture
def recurring(stack: EmbeddedStack, command_server: CommandServer) -> Recurring:
    stack.up()
    return Recurring(stack, command_server)


@pytest.fixture(scope="session")
def played(servers_folder: Path) -> Iterator[Played]:
    """A stack of its own that exports its traces."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    register = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    with ExitStack() as resources:
        resources.callback(server.stop, None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
            patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
            watched = whole_stack(servers_folder / "watched", "e2e", durable=False)
            stack = resources.enter_context(watched)
        server.start()
        yield asyncio.run(play(stack, collector))
