"""What the images are started with, read from every overlay and component: none is forgotten."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploy.image.build import IMAGES
from deploy.manifests import (
    Manifest,
    components,
    overlays,
    parse,
    render_component,
    render_overlay,
)

# The order in which kinds of workloads start; a Job ends before what comes after it.
KINDS = ("StatefulSet", "DaemonSet", "Deployment", "Job", "CronJob")
# Makes what all others mount.
FIRST = "keys"


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A program of the images, and its arguments."""

    command: tuple[str, ...]
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, container: Manifest) -> "EntryPoint":
        """Return what a container runs."""
        return cls(tuple(container.get("command", ())), tuple(container.get("args", ())))

    def __str__(self) -> str:
        return " ".join((*self.command, *self.arguments))


def wanted() -> set[EntryPoint]:
    """Return whatever any overlay or component runs in one of the images."""
    rendered = (*map(render_overlay, overlays()), *map(render_component, components()))
    return {
        EntryPoint.of(container)
        for text in rendered
        for workload in workloads(parse(text))
        for container in containers(workload)
        if _is_ours(container["image"])
    }


def workloads(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return what has pods, in the order in which it is to start."""
    workloads = [manifest for manifest in manifests if manifest["kind"] in KINDS]
    return sorted(workloads, key=_place)


def pod_spec(workload: Manifest) -> Manifest:
    """Return the description of a workload's pods."""
    spec = workload["spec"]
    job = spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec
    pod: Manifest = job["template"]["spec"]
    return pod


def containers(workload: Manifest) -> Iterator[Manifest]:
    """Give each container of a workload's pods, those that come before the others first."""
    spec = pod_spec(workload)
    yield from spec.get("initContainers", ())
    yield from spec["containers"]


def _place(workload: Manifest) -> tuple[bool, int]:
    return workload["metadata"]["name"] != FIRST, KINDS.index(workload["kind"])


def _is_ours(image: str) -> bool:
    return image.rpartition("/")[2].partition(":")[0] in IMAGES
