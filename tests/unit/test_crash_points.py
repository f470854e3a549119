"""The fault suite knows every crash point of every service."""

import ast
import importlib
from pathlib import Path

import pytest

from cli.faults.crashes import POINTS, RUNTIME_POINTS
from services.runtime import crash_points

ROOT = Path(__file__).resolve().parents[2]
# One statement, which a race alone leads to: an event came while its endpoint was deleted.
WITHOUT_POINT = {"services/notify/workers/webhooks.py: _cancel_stray"}


@pytest.mark.parametrize("service", sorted(POINTS))
def test_the_fault_suite_knows_the_crash_points_of_a_service(service: str) -> None:
    importlib.import_module(f"services.{service}.__main__")
    own = {name for name in crash_points.known() if name.startswith(f"{service}.")}
    assert own == set(POINTS[service]) - set(RUNTIME_POINTS)


def test_the_fault_suite_knows_the_crash_points_that_all_services_have() -> None:
    importlib.import_module("services.catalog.__main__")
    prefixes = ("mutation.", "outbox.", "inbox.")
    assert {name for name in crash_points.known() if name.startswith(prefixes)} == set(
        RUNTIME_POINTS
    )


def test_each_commit_of_due_work_has_a_crash_point() -> None:
    files = [
        file
        for service in POINTS
        for pattern in ("workers.py", "workers/*.py")
        for file in (ROOT / "services" / service).glob(pattern)
    ]
    without = {
        f"{file.relative_to(ROOT)}: {function.name}"
        for file in files
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.AsyncFunctionDef)
        and "begin" in (methods := _called_methods(function))
        and "reached" not in methods
    }
    assert without == WITHOUT_POINT


def _called_methods(function: ast.AsyncFunctionDef) -> set[str]:
    return {
        call.func.attr
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    }


def test_each_crash_point_says_what_is_done_by_then() -> None:
    assert all(point.meaning.endswith(".") for point in crash_points.known().values())


def test_each_crash_point_is_documented_with_its_meaning() -> None:
    for service in POINTS:
        importlib.import_module(f"services.{service}.__main__")
    documented = (ROOT / "docs" / "reliability.md").read_text()
    for point in crash_points.known().values():
        if not point.name.startswith("tests."):
            line = next(line for line in documented.splitlines() if f"| `{point.name}` |" in line)
            assert point.meaning in line
