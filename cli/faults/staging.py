"""A deployment of the user's own, as a file describes it: where it answers, and how it is made to fail.

merchant = "faults"                       # the token's merchant; histories have ids of their own
token_file = "/run/secrets/faults.jwt"
ca_file = ""                              # where the system does not know the authority
grpc_plaintext = false
sandbox_url = "http://sandbox:8400"       # left out: real time
provider_api_key = "sk_test"              # with a sandbox, and `databases`: for the proof
provider_accounts = {}                    # the same of further accounts: {stripe-uk = "sk_test_uk"}

[targets]                                 # gRPC targets of the four services
catalog = "catalog.staging.example:443"

[databases]                               # for the proof: a role that reads the views
catalog = "postgresql://recurring_catalog_auditor@db/recurring_catalog"

[[customers]]                             # in real time: customers whose phones are bound
customer = "ann"
payment_method = "card"
mandate = "consent"

[faults."kill payments"]                  # shell commands; heal ends when all is well again
make = "kubectl delete pod -l app=payments --grace-period=0 --force"
heal = "kubectl rollout status deployment/payments --timeout=120s"
lasting = false                           # true: it stays over some steps of a history
"""

import asyncio
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cli.connect import SERVICES, Session, Stack
from cli.errors import CommandError
from cli.faults.target import Fault, does
from cli.output import Output
from cli.trust import Trust

COMMAND_TIMEOUT_SECONDS = 300.0
_KNOWN = frozenset({
    "merchant", "token_file", "ca_file", "grpc_plaintext", "sandbox_url", "provider_api_key",
    "provider_accounts", "targets", "databases", "customers", "faults",
})  # fmt: skip
_FAULT_KEYS = frozenset({"make", "heal", "lasting"})
_CUSTOMER_KEYS = frozenset({"customer", "payment_method", "mandate"})


@dataclass(frozen=True, slots=True)
class StagingTarget:
    """What a target file describes."""

    stack: Stack
    faults: Mapping[str, Fault]
    customers: Sequence[Mapping[str, str]]

    @property
    def simulated(self) -> bool:
        """Whether there is a sandbox, whose clock can be advanced."""
        return bool(self.stack.sandbox_url)

    @property
    def reached(self) -> Mapping[str, int]:
        """Nobody sees what becomes of the pods of a fault."""
        return {}

    @property
    def discarded_events(self) -> Collection[str]:
        """None: no fault makes such."""
        return ()

    def session(self, tag: str) -> Session:  # noqa: ARG002 - the token is one merchant's
        """A session as the merchant of the file."""
        return Session(self.stack, Output(as_json=True))

    async def restore(self) -> None:
        """Heal all faults."""
        for fault in self.faults.values():
            await fault.heal()

    async def redrive(self) -> None:
        """Nothing: none of its faults loses what was committed."""


def read_target(file: Path) -> StagingTarget:
    """Read a target file. Raises CommandError with all that is wrong with it."""
    try:
        given = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"{file} is no target file: {error}") from error
    if wrong := list(_wrong(given)):
        raise CommandError("\n".join(f"{file}: {line}" for line in wrong))
    try:
        token = Path(given["token_file"]).read_text().strip()
    except OSError as error:
        raise CommandError(f"{given['token_file']} cannot be read: {error.strerror}") from error
    stack = Stack(
        targets=given["targets"],
        token=token,
        merchant=given["merchant"],
        nats_url="",
        sandbox_url=given.get("sandbox_url", ""),
        database_urls=given.get("databases", {}),
        provider_api_key=given.get("provider_api_key", ""),
        provider_accounts=given.get("provider_accounts", {}),
        trust=Trust(given.get("ca_file", ""), bool(given.get("grpc_plaintext", False))),
    )
    faults = {
        name: Fault(
            make=does(_run, name, fault["make"]),
            heal=partial(_run, name, fault["heal"]),
            lasting=fault.get("lasting", False),
        )
        for name, fault in given["faults"].items()
    }
    return StagingTarget(stack, faults, given.get("customers", []))


def _wrong(given: Mapping[str, Any]) -> list[str]:
    wrong = [f"{name}: is not known" for name in given.keys() - _KNOWN]
    wrong += [f"{name}: is missing" for name in ("merchant", "token_file") if not given.get(name)]
    targets = given.get("targets", {})
    wrong += [f"targets.{service}: is missing" for service in SERVICES if service not in targets]
    faults = given.get("faults", {})
    if not faults:
        wrong.append("faults: give at least one")
    for name, fault in faults.items():
        if not isinstance(fault, dict) or not fault.get("make") or not fault.get("heal"):
            wrong.append(f"faults.{name}: give the commands make and heal")
        else:
            wrong += [f"faults.{name}.{key}: is not known" for key in fault.keys() - _FAULT_KEYS]
    for number, customer in enumerate(given.get("customers", [])):
        if customer.keys() != _CUSTOMER_KEYS:
            wrong.append(f"customers[{number}]: give {', '.join(sorted(_CUSTOMER_KEYS))}")
    if not given.get("sandbox_url") and not given.get("customers"):
        wrong.append("customers: in real time, give customers whose phones are bound")
    return sorted(wrong)


async def _run(name: str, command: str) -> None:
    """Run a command of the file. Raises CommandError if it fails or does not end."""
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
            printed, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise CommandError(f"fault {name}: {command!r} does not end") from None
    if process.returncode:
        raise CommandError(f"fault {name}: {command!r} failed: {printed.decode().strip()}")
