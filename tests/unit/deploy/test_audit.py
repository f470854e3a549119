"""An audit that did not look says so; it never passes for want of an answer."""

import json

import pytest

from deploy import audit

GOOD = {"name": "grpcio", "version": "1.0", "vulns": []}
BAD = {
    "name": "jinja2",
    "version": "3.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
SKIPPED = {"name": "orjson", "skip_reason": "Dependency not found on PyPI: orjson (3.0)"}


def printed(*packages: object) -> list[str]:
    return list(audit.verdict(audit.findings(json.dumps({"dependencies": packages}))))


def test_packages_without_a_vulnerability_are_counted() -> None:
    assert printed(GOOD, GOOD) == ["2 packages, no known vulnerability"]


def test_each_vulnerability_is_named_with_the_version_that_fixes_it() -> None:
    assert printed(GOOD, BAD) == [
        "jinja2 3.0: PYSEC-1 (fixed in 3.1)",
        "jinja2 3.0: PYSEC-2 (fixed in no version yet)",
    ]


def test_a_package_that_was_not_looked_at_is_named() -> None:
    assert printed(GOOD, SKIPPED) == ["1 packages were NOT audited", SKIPPED["skip_reason"]]


@pytest.mark.parametrize("packages", [(), (SKIPPED, SKIPPED)])
def test_an_audit_that_looked_at_nothing_was_not_run(packages: tuple[object, ...]) -> None:
    assert printed(*packages)[0].startswith(f"NOT RUN: none of {len(packages)} packages")


@pytest.mark.parametrize(("package", "exit_code"), [(GOOD, 0), (BAD, 1), (SKIPPED, 1)], ids=str)
def test_only_a_whole_audit_without_findings_passes(
    package: object,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = json.dumps({"dependencies": [package]})
    monkeypatch.setattr(audit, "audit", lambda _lock: report)
    assert audit.main() == exit_code


def test_no_report_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PIP_AUDIT", "false")
    assert audit.main() == 1
