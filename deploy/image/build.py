"""Builds both images from the working tree, with whichever of podman, buildah and docker is there."""

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
ENGINES = ("podman", "buildah", "docker")
# Stage of the Dockerfile -> what the requirements of the image are.
IMAGES = {"recurring": "requirements/runtime.txt", "recurring-sandbox": "requirements/sandbox.txt"}
REGISTRY = "localhost"
BILL_FOLDER = ROOT / "build" / "image"
# More arguments for the engine's build, separated by spaces: a proxy's certificates, a network.
OPTIONS_VARIABLE = "IMAGE_BUILD_OPTIONS"
PYTHON_IMAGE_VARIABLE = "PYTHON_IMAGE"
PYTHON_IMAGE = "docker.io/library/python:3.11-slim"


class BuildError(Exception):
    """The image cannot be built; the message says why."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What the images are built from."""

    revision: str
    time: datetime
    version: str

    @classmethod
    def head(cls) -> "Commit":
        """Return the commit that is checked out; `-dirty` if the working tree differs from it."""
        revision, seconds = _output("git", "log", "-1", "--format=%H %ct").split()
        dirty = "-dirty" if _output("git", "status", "--porcelain") else ""
        project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["project"]
        return cls(revision + dirty, datetime.fromtimestamp(int(seconds), UTC), project["version"])


def find_engine() -> str:
    """Return the first engine that is installed; raises BuildError if none is."""
    for engine in ENGINES:
        if shutil.which(engine):
            return engine
    raise BuildError(f"none of {', '.join(ENGINES)} is installed")


def python_image() -> str:
    """Return the base image that the environment names."""
    return os.environ.get(PYTHON_IMAGE_VARIABLE) or PYTHON_IMAGE


def build(engine: str, commit: Commit, tags: tuple[str, ...]) -> None:
    """Build every image and give it the tags; raises BuildError if the engine fails."""
    for image in IMAGES:
        command = [engine, *_subcommand(engine), "--target", image, "--file", str(DOCKERFILE)]
        command += _fixed_time(engine, commit)
        for tag in tags:
            command += ["--tag", f"{REGISTRY}/{image}:{tag}"]
        for name, value in {
            "PYTHON_IMAGE": python_image(),
            "VERSION": commit.version,
            "REVISION": commit.revision,
            "CREATED": commit.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }.items():
            command += ["--build-arg", f"{name}={value}"]
        command += os.environ.get(OPTIONS_VARIABLE, "").split()
        if subprocess.run([*command, str(ROOT)], check=False).returncode:
            raise BuildError(f"{engine} could not build {image}")


def write_bills(tools: Path) -> list[Path]:
    """Write what each image is made of, in CycloneDX, from its locked requirements."""
    BILL_FOLDER.mkdir(parents=True, exist_ok=True)
    written = []
    for image, requirements in IMAGES.items():
        file = BILL_FOLDER / f"{image}.cdx.json"
        command = [
            str(tools / "cyclonedx-py"), "requirements", requirements, "--output-reproducible",
            "--pyproject", "pyproject.toml", "--mc-type", "application",
            "--of", "JSON", "-o", str(file),
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True)
        written.append(file)
    return written


def _subcommand(engine: str) -> list[str]:
    if engine == "docker":
        # As --load does; files in layers are dated as the commit, too (BuildKit 0.13 or later).
        return ["buildx", "build", "--output", "type=docker,rewrite-timestamp=true"]
    # Layers are kept from one build to the next, as docker does anyway.
    return ["build", "--layers"]


def _fixed_time(engine: str, commit: Commit) -> list[str]:
    """Whatever is dated inside an image is dated as its commit: the same commit, the same image."""
    seconds = str(int(commit.time.timestamp()))
    if engine == "docker":
        return ["--build-arg", f"SOURCE_DATE_EPOCH={seconds}"]
    return ["--timestamp", seconds]


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"{' '.join(command)}: {error}") from error
    return done.stdout.strip()


def main() -> int:
    """`python -m deploy.image.build TOOLS [TAG]`: TOOLS is the folder with cyclonedx-py."""
    tools, *tags = sys.argv[1:]
    try:
        engine, commit = find_engine(), Commit.head()
        build(engine, commit, (commit.version, *(tags or ("dev",))))
    except BuildError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    for file in write_bills(Path(tools)):
        print(f"bill of materials: {file.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
