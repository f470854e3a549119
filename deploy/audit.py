"""Holds every locked dependency against the published vulnerabilities: `make audit`.

pip-audit asks a database over the network. A package that it has no answer for it calls skipped, and
ends as if all were well; here an audit that did not look at everything is a failure that says so.
"""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIP_AUDIT = Path(sysconfig.get_path("scripts")) / "pip-audit"
# The locks that between them name every version that is installed anywhere.
LOCKS = ("dev", "manifests")
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Findings:
    """The result of an audit: vulnerabilities, and packages that were not checked and why."""

    audited: int
    vulnerable: tuple[str, ...]
    skipped: tuple[str, ...]


def main() -> int:
    """Audit, print what was found, and fail unless everything was audited and found good."""
    failed = False
    for lock in LOCKS:
        try:
            audited = findings(audit(ROOT / "requirements" / f"{lock}.txt"))
        except ValueError as error:
            print(f"audit of {lock}: NOT RUN: {error}", file=sys.stderr)
            failed = True
            continue
        for line in verdict(audited):
            print(f"audit of {lock}: {line}", file=sys.stderr)
        failed = failed or bool(audited.vulnerable or audited.skipped or not audited.audited)
    return int(failed)


def audit(lock: Path) -> str:
    """pip-audit's report on a lock. Raises ValueError if it made none."""
    done = subprocess.run(
        [PIP_AUDIT, "--disable-pip", "--require-hashes", "--format", "json", "-r", lock],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    if not done.stdout:
        raise ValueError((done.stderr.strip() or "pip-audit said nothing").splitlines()[-1])
    return done.stdout


def findings(report: str) -> Findings:
    """Read a report."""
    packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    return Findings(
        audited=sum("vulns" in package for package in packages),
        vulnerable=tuple(
            f"{package['name']} {package['version']}: {vulnerability['id']}"
            f" (fixed in {', '.join(vulnerability['fix_versions']) or 'no version yet'})"
            for package in packages
            for vulnerability in package.get("vulns", ())
        ),
        skipped=tuple(package["skip_reason"] for package in packages if "skip_reason" in package),
    )


def verdict(audited: Findings) -> Iterator[str]:
    """The lines to print."""
    yield from audited.vulnerable
    if not audited.audited:
        yield f"NOT RUN: none of {len(audited.skipped)} packages could be looked up, such as"
        yield from audited.skipped[:1]
    elif audited.skipped:
        yield f"{len(audited.skipped)} packages were NOT audited"
        yield from audited.skipped
    elif not audited.vulnerable:
        yield f"{audited.audited} packages, no known vulnerability"


if __name__ == "__main__":
    sys.exit(main())
