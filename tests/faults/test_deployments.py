"""The shipped command on a deployment of a user's own, as a target file describes it.

These tests come before those of outages: a history that ends within a minute of a restored database
would take for lost what others still know of it.
"""

import json
import os
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.embedded.keys import Keys
from deploy.embedded.program import ROOT
from tests.contract.customer import new_customer
from tests.faults.conftest import Operator

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SEED = "3"
# A violation is to be read here, not to be shrunk.
PLAY = ("--seeds", "1", "--seed", SEED, "--shrink-plays", "0")


def command_of(operator: Operator, what: str, part: str) -> str:
    """A shell command that does something to a part of the stack."""
    stack = operator.stack
    script = f"""
from pathlib import Path
from deploy.embedded.addresses import Addresses
from deploy.embedded.stack import EmbeddedStack
EmbeddedStack(Path({str(stack.home)!r}), Addresses({dict(stack.addresses.ports)!r})).{what}({part!r})
"""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"


def target_file(operator: Operator, folder: Path, merchant: str, *, simulated: bool) -> Path:
    """A target file whose faults are kills of two services."""
    described = json.loads(operator.stack.description_file.read_text())
    keys = Keys(operator.stack.home / "keys")
    token = folder / "token"
    token.write_text(keys.token("staging", merchant, "platform", timedelta(hours=1)))
    lines = [
        f'merchant = "{merchant}"',
        f'token_file = "{token}"',
        f'provider_api_key = "{described["provider_api_key"]}"',
        *([f'sandbox_url = "{described["sandbox_url"]}"'] if simulated else []),
        "[targets]",
        *(f'{service} = "{target}"' for service, target in described["targets"].items()),
        "[databases]",
        *(f'{service} = "{url}"' for service, url in described["database_urls"].items()),
        "[[customers]]",
        'customer = "ann"',
        'payment_method = "card"',
        'mandate = "m1"',
    ]
    for service in ("payments", "notify"):
        lines += [
            f'[faults."kill {service}"]',
            f"make = {json.dumps(command_of(operator, 'kill', service))}",
            f"heal = {json.dumps(command_of(operator, 'start', service))}",
        ]
    file = folder / "target.toml"
    file.write_text("\n".join(lines))
    return file


def faults(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "faults", *PLAY, *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("RECURRING_")}
        | {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_history_is_played_on_a_deployment_of_ones_own(
    operator: Operator, tmp_path: Path
) -> None:
    file = target_file(operator, tmp_path, "staging", simulated=True)
    done = faults("--target", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {SEED}: ok" in done.stdout
    assert ", 0 violations" in done.stdout
    assert "kill" in done.stdout


async def test_a_deployment_without_a_simulated_clock_is_played_on_in_real_time_if_asked(
    operator: Operator, tmp_path: Path
) -> None:
    ann = await new_customer(operator.suite)
    file = target_file(operator, tmp_path, ann.shop.merchant, simulated=False)
    refused = faults("--target", str(file))
    assert refused.returncode == 1
    assert "has no simulated clock" in refused.stderr

    done = faults("--target", str(file), "--real-time")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 violations" in done.stdout
