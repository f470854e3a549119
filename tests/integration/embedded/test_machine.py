"""The stack and the tests start for an ordinary user, or name at once what the machine lacks."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.embedded.machine import Needs, prepare
from deploy.embedded.process import PartError
from deploy.embedded.program import ROOT

NOTHING = Needs("this", open_files=1, disk_bytes=1)


class Usage(NamedTuple):
    free: int


def under(soft: int, hard: int, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program with these limits of open files."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **more, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_usual_soft_limit_of_open_files_is_raised() -> None:
    program = (
        "import resource\n"
        "from pathlib import Path\n"
        "from deploy.embedded.machine import STACK, prepare\n"
        "prepare(STACK, Path('/'))\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = under(1024, 5000, "-c", program)
    assert done.stdout.split() == ["5000", "5000"], done.stderr


def test_the_stack_says_that_too_few_files_may_be_open_and_starts_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = under(512, 512, "-m", "deploy.embedded", "up", RECURRING_HOME=str(home))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("the stack cannot run here: a process may open 512 files, and 1024 are")
    assert not home.exists()


def test_the_tests_say_before_the_first_that_too_few_files_may_be_open() -> None:
    done = under(1024, 1024, "-m", "pytest", "-p", "no:cacheprovider", "tests/integration/embedded")
    assert done.returncode == 1
    assert "the tests cannot run here: a process may open 1024 files" in done.stdout + done.stderr
    assert "passed" not in done.stdout


def test_all_that_is_missing_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: Usage(free=1))
    with pytest.raises(PartError) as refusal:
        prepare(Needs("this", open_files=10**9, disk_bytes=10**9), tmp_path / "not" / "yet")
    files, disk, memory = str(refusal.value).splitlines()
    assert "1000000000 are needed" in files
    assert disk == f"this cannot run here: {tmp_path} has 0 MiB free, and 953 are needed"
    assert memory.startswith("this cannot run here: /dev/shm has 0 MiB free")


def test_root_needs_an_account_that_postgresql_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_name: str) -> None:
        raise KeyError

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("pwd.getpwnam", unknown)
    with pytest.raises(PartError, match="no account `nobody`: run as an ordinary user"):
        prepare(NOTHING, tmp_path)
