"""The suite's own programs as parts of the stack: the sandbox and the services."""

import http.client
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from deploy.embedded.addresses import PORT_BASE_VARIABLE
from deploy.embedded.ports import (
    CONNECT_TIMEOUT_SECONDS,
    START_TIMEOUT_VARIABLE,
    accepts,
    wait_until_ready,
)
from deploy.embedded.process import PartError, Process

ROOT = Path(__file__).resolve().parents[2]
# What a program is given of the caller's environment, beside what the stack sets. Anything else
# would make the same program look started differently from another shell.
INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ")
INHERITED_PREFIXES = ("RECURRING_", "SANDBOX_", "OTEL_")
RUN_TIMEOUT_SECONDS = 300.0
SECRETS_VARIABLE = "RECURRING_SECRETS_FOLDER"
# Variables for the stack itself and for the command.
NOT_INHERITED = (
    *("RECURRING_HOME", "RECURRING_MERCHANT", "RECURRING_TOKEN_FILE", "RECURRING_CA_FILE"),
    PORT_BASE_VARIABLE,
    START_TIMEOUT_VARIABLE,
)


class Program:
    """`python -m <module>` in the background, ready when `answers` says so."""

    def __init__(
        self,
        name: str,
        module: str,
        folder: Path,
        environment: Mapping[str, str],
        answers: Callable[[], bool],
    ) -> None:
        environment = {**_inherited(), **environment}
        # Only settings in files change, and only then a service ends to be started again.
        supervisor = ["deploy.embedded.supervisor"] if SECRETS_VARIABLE in environment else []
        self.process = Process(
            name=name,
            command=[sys.executable, "-m", *supervisor, module],
            log_file=folder / "log" / f"{name}.log",
            pid_file=folder / "run" / f"{name}.json",
            working_folder=ROOT,
            environment=environment,
        )
        self._answers = answers

    def prepare(self) -> None:
        """Programs need nothing made before they start."""

    def start(self) -> None:
        """Start the program and return when it is ready; raises PartError if it is not."""
        self.launch()
        wait_until_ready(self.process, self.is_ready)

    def launch(self) -> None:
        """Start the program, and do not wait until it is ready."""
        self.process.start()

    def is_ready(self) -> bool:
        """Whether the program answers that it is ready."""
        return self._answers()

    def stop(self) -> None:
        """Stop the program; it finishes what it has begun."""
        self.process.stop()

    def kill(self) -> None:
        """End the program as a crash would."""
        self.process.kill()


def run_to_end(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run `python -m <module>`; raises PartError with what it says if it fails."""
    try:
        completed = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**_inherited(), **environment},
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise PartError(f"{module} did not end within {RUN_TIMEOUT_SECONDS:g} s") from expired
    if completed.returncode:
        raise PartError(f"{module}: {completed.stderr.strip()}")


def answers_http(url: str) -> bool:
    """Whether the URL answers with success. No proxy is asked: the stack is near."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=CONNECT_TIMEOUT_SECONDS):
            return True
    except (OSError, ValueError, http.client.HTTPException):
        return False


def answers_grpc(target: str) -> bool:
    """Whether a gRPC server there reports itself as serving (grpc.health.v1)."""
    host, _, port = target.rpartition(":")
    if not port.isdigit() or not accepts(host, int(port)):
        return False
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=CONNECT_TIMEOUT_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _inherited() -> dict[str, str]:
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or (name.startswith(INHERITED_PREFIXES) and name not in NOT_INHERITED)
    }
    return {
        **passed,
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
        "PYTHONUNBUFFERED": "1",
        # Text is UTF-8, whatever the locale says.
        "PYTHONUTF8": "1",
    }
