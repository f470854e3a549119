"""The examples run as an engineer of a platform would run them: with the built client, on the suite."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from clients.build import ROOT, build_wheel
from deploy.embedded.stack import EmbeddedStack
from protos.generate import write_image

TYPESCRIPT = ROOT / "examples" / "typescript"
# The environment of the tests brings what they need, Node.js too; `make setup` has fetched the rest.
PROGRAMS = Path(sys.executable).parent
CLIENT_WHEELS = PROGRAMS.parent / "client-wheels"
BUILD_TIMEOUT_SECONDS = 240
RUN_TIMEOUT_SECONDS = 100


def run(command: Sequence[str | Path], folder: Path, stack: EmbeddedStack | None = None) -> str:
    """What a command prints; fails with all it printed if it fails."""
    environment = (
        {"HOME": str(Path.home()), "RECURRING_HOME": str(stack.home)} if stack else os.environ
    )
    done = subprocess.run(
        [str(argument) for argument in command],
        cwd=folder,
        env={**environment, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_SECONDS if stack is None else RUN_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the client's wheel and what that asks for."""
    folder = tmp_path_factory.mktemp("client")
    wheel = build_wheel(folder)
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    assert CLIENT_WHEELS.is_dir(), "run `make setup`"
    fetched = ["--offline", "--no-cache", "--no-index", f"--find-links={CLIENT_WHEELS}"]
    uv = PROGRAMS / "uv"
    run([uv, "pip", "install", "--quiet", *fetched, f"--python={python}", wheel], folder)
    return python


@pytest.mark.timeout(400)
def test_the_python_example_comes_to_a_paid_order(
    installed: Path, suite_stack: EmbeddedStack
) -> None:
    printed = run([installed, ROOT / "examples" / "python" / "example.py"], ROOT, suite_stack)
    lines = printed.splitlines()
    rule = "must be set if await_confirmation is not, and only then"
    assert f"refused: FIELD_INVALID {{'mandate.evidence': '{rule}'}}" in lines
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert [event["type"].rpartition(".")[2] for event in events] == [
        "OrderUpcoming",
        "OrderConfirmed",
    ]
    assert events[1]["data"]["amount"] == {"currencyCode": "EUR", "units": "25"}


@pytest.mark.timeout(400)
def test_the_client_is_typed(installed: Path, tmp_path: Path) -> None:
    mistaken = tmp_path / "mistaken.py"
    mistaken.write_text(
        "from recurring.catalog.v1 import catalog_pb2\n"
        "from recurring_client import Recurring\n"
        "catalog_pb2.GetProductRequest(nme='tea')\n"
        "Recurring({}, token=5)\n"
    )
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", installed, "--strict", mistaken],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "mistaken.py:3: error: Unexpected keyword argument" in checked.stdout
    assert "mistaken.py:4: error: Argument" in checked.stdout
    assert checked.stdout.count("error:") == 2


@pytest.mark.timeout(400)
def test_the_typescript_example_runs_in_node(suite_stack: EmbeddedStack, tmp_path: Path) -> None:
    assert TYPESCRIPT.joinpath("node_modules").is_dir(), "run `make setup`"
    npm, buf = PROGRAMS / "npm", PROGRAMS / "buf"
    image = tmp_path / "protos.binpb"
    write_image(image)
    run([buf, "generate", image, "--template", "clients/typescript/buf.gen.yaml"], ROOT)
    run([npm, "run", "build"], TYPESCRIPT)
    printed = run([npm, "start", "--silent"], TYPESCRIPT, suite_stack)
    lines = printed.splitlines()
    assert lines[0].endswith("once: true")
    assert lines[1].startswith('refused {"reason":"FIELD_INVALID","fields":{"product_id":')
    kind, _, data = lines[-1].partition(" ")
    assert kind == "recurring.catalog.v1.PriceChangeScheduled"
    assert json.loads(data)["unitPrice"] == {
        "currencyCode": "EUR", "units": "12", "nanos": 500_000_000,
    }  # fmt: skip
