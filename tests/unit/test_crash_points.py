"""The fault suite knows every crash point of every service."""

import importlib
from pathlib import Path

import pytest

from cli.faults.crashes import POINTS, RUNTIME_POINTS
from services.runtime import crash_points

ROOT = Path(__file__).resolve().parents[2]


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
