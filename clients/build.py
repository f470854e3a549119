"""Builds the Python client: one wheel with the stubs, the helper and their types, into dist/.

python -m clients.build
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "clients" / "python"
GENERATED = ROOT / "gen"
DIST = ROOT / "dist"
# What the client asks for, a name a line.
DEPENDENCIES = ROOT / "requirements" / "client.in"


def main() -> int:
    """Run as a command; returns the exit status."""
    print(build_wheel(DIST))
    return 0


def build_wheel(target: Path) -> Path:
    """Build the wheel into a folder and return its path. Raises CalledProcessError."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory(prefix="recurring-client-") as name:
        folder = Path(name) / "source"
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for package in ("recurring", "buf"):
            shutil.copytree(GENERATED / package, folder / package)
        (folder / "VERSION").write_text(project["version"])
        names = [name for name in DEPENDENCIES.read_text().splitlines() if name[0] != "#"]
        requirements = "".join(f"{name}>={version(name)}\n" for name in names)
        (folder / "requirements.txt").write_text(requirements)
        built = Path(name) / "wheel"
        subprocess.run(
            [
                sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                "--wheel-dir", str(built), str(folder),
            ],
            check=True,
        )  # fmt: skip
        [wheel] = built.glob("*.whl")
        target.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, target / wheel.name))


if __name__ == "__main__":
    sys.exit(main())
