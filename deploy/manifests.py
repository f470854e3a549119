"""Renders every overlay and component, and has them checked: `make manifests`.

Kubernetes' own schemas say whether each field exists (kubernetes-validate), checkov whether each thing
is as safe as it can be. What no such tool knows (that a port, a secret or a setting meets its other
end) is in tests/manifests.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy"
RENDERED = ROOT / "build" / "manifests"
KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
# What development has, and the last ones before it that clouds still run.
KUBERNETES_VERSIONS = ("1.34.0", "1.35.0", "1.36.0")
# Groups of Kubernetes itself; the others are of the operators that docs/kubernetes.md names.
OWN_GROUPS = (
    "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
)  # fmt: skip
DOCKERFILE = "deploy/image/Dockerfile"
# PyYAML's own parser takes ten times as long as libyaml, which few wheels are without.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Manifest = dict[str, Any]


class ManifestError(Exception):
    """A manifest does not build, or is not as it should be."""


def overlays() -> list[str]:
    """Return the names of the overlays."""
    return sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    """Return the names of the components."""
    return sorted(path.parent.name for path in FOLDER.glob("components/*/kustomization.yaml"))


def render_overlay(name: str) -> str:
    """Return an overlay's manifests; raises ManifestError if it does not build."""
    return render(FOLDER / "overlays" / name)


def render_component(name: str, on: str = "base") -> str:
    """Return the base, or an overlay, with one component more; raises ManifestError like `render`."""
    folder = RENDERED / "components" / on / name
    folder.mkdir(parents=True, exist_ok=True)
    up = os.path.relpath(FOLDER, folder)
    alone = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{up}/{on}"],
        "components": [f"{up}/components/{name}"],
        "images": [{"name": "recurring", "newTag": "0.0.0"}],
    }
    folder.joinpath("kustomization.yaml").write_text(yaml.safe_dump(alone))
    return render(folder)


def parse(text: str) -> list[Manifest]:
    """Return the manifests that a text holds; raises yaml.YAMLError if it is not YAML."""
    return list(yaml.load_all(text, Loader=_SAFE_LOADER))


def is_kubernetes_own(api_version: str) -> bool:
    """Whether a resource is Kubernetes' own, or an operator's."""
    group, _, version = api_version.rpartition("/")
    return not group or (group in OWN_GROUPS and bool(version))


def render(folder: Path) -> str:
    """Return what a folder's kustomization builds; raises ManifestError if it does not build."""
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    # A warning, of something deprecated for example, is worth a failure.
    if done.returncode or done.stderr:
        raise ManifestError(f"{folder}: {done.stderr.strip()}")
    return done.stdout


def _render() -> Iterator[Path]:
    """Write everything that can be built, and what of it Kubernetes has a schema for."""
    RENDERED.mkdir(parents=True, exist_ok=True)
    for name, text in (
        *((overlay, render_overlay(overlay)) for overlay in overlays()),
        *((f"component-{component}", render_component(component)) for component in components()),
    ):
        file = RENDERED / f"{name}.yaml"
        known = [document for document in parse(text) if is_kubernetes_own(document["apiVersion"])]
        file.write_text(yaml.safe_dump_all(known))
        yield file


def check(tools: Path) -> None:
    """Check everything, with the tools in a folder; raises ManifestError with what is wrong."""
    files = [str(file) for file in _render()]
    print(f"rendered: {', '.join(Path(file).stem for file in files)}", flush=True)
    for version in KUBERNETES_VERSIONS:
        _run(tools / "kubernetes-validate", "--strict", "--quiet", "-k", version, *files)
        print(f"as Kubernetes {version} has them", flush=True)
    scanned = [
        argument for name in overlays() for argument in ("-f", str(RENDERED / f"{name}.yaml"))
    ]
    quiet = ("--compact", "--quiet", "--skip-download")
    _run(tools / "checkov", "--framework", "kubernetes", *quiet, *scanned)
    _run(tools / "checkov", "--framework", "dockerfile", *quiet, "-f", DOCKERFILE)
    print("checkov finds nothing that is not explained", flush=True)


def _run(tool: Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ManifestError(f"{tool.name} {arguments[0]}:\n{done.stdout}{done.stderr}")


def main() -> int:
    """`python -m deploy.manifests TOOLS`: TOOLS is the folder with kubernetes-validate and checkov."""
    try:
        check(Path(sys.argv[1]))
    except ManifestError as error:
        print(f"manifests: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
