"""The resources of a rendered overlay, for tests."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "Job")
SERVICES = ("catalog", "scheduler", "payments", "notify")


@dataclass(frozen=True)
class Pod:
    """A workload's pod, by the name of the workload."""

    name: str
    labels: Mapping[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def main(self) -> Manifest:
        (container,) = self.spec["containers"]
        return dict(container)

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.main.get("ports", ())}

    def port(self, port: str | int) -> int:
        """A port's number; KeyError if the pod has no such port."""
        return self.ports[port] if isinstance(port, str) else port

    def volume(self, name: str) -> Manifest:
        """A volume; an empty one for what a StatefulSet claims for each of its pods."""
        return next((volume for volume in self.spec["volumes"] if volume["name"] == name), {})

    def mounted(self, container: Manifest) -> Iterator[tuple[str, str, str]]:
        """Kind and name of whatever a container mounts as files, and where."""
        for mount in container.get("volumeMounts", ()):
            volume = self.volume(mount["name"])
            for source in volume.get("projected", {}).get("sources", [volume]):
                if "secret" in source:
                    held = source["secret"]
                    yield "Secret", held.get("secretName") or held["name"], mount["mountPath"]
                if "configMap" in source:
                    yield "ConfigMap", source["configMap"]["name"], mount["mountPath"]


@dataclass(frozen=True)
class Cluster:
    """The manifests of one overlay."""

    name: str
    manifests: list[Manifest]

    def all(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def named(self, kind: str, name: str) -> Manifest:
        named = [manifest for manifest in self.all(kind) if manifest["metadata"]["name"] == name]
        assert named, f"there is no {kind} {name} in {self.name}"
        return named[0]

    @property
    def pods(self) -> list[Pod]:
        return [
            Pod(
                manifest["metadata"]["name"],
                manifest["spec"]["template"]["metadata"]["labels"],
                manifest["spec"]["template"]["spec"],
            )
            for kind in WORKLOADS
            for manifest in self.all(kind)
        ] + [_operators_pod(manifest) for manifest in self.all("Cluster")]

    def pod(self, name: str) -> Pod:
        return next(pod for pod in self.pods if pod.name == name)

    def selected(self, selector: Manifest) -> list[Pod]:
        return [pod for pod in self.pods if selects(selector, pod.labels)]

    def environment(self, container: Manifest) -> dict[str, str]:
        """What a container is told, but for what comes from elsewhere."""
        values: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            values |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", ()):
            key = variable.get("valueFrom", {}).get("configMapKeyRef")
            values[variable["name"]] = (
                self.named("ConfigMap", key["name"])["data"][key["key"]]
                if key
                else variable.get("value", "")
            )
        return values

    def files(self, kind: str, name: str) -> Mapping[str, str]:
        """The files that a mounted ConfigMap has, or a Secret that External Secrets makes."""
        if kind == "ConfigMap":
            return dict(self.named("ConfigMap", name)["data"])
        template = self.named("ExternalSecret", name)["spec"]["target"]["template"]
        return dict(template["data"])


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a label selector picks these labels; an empty one picks all."""
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all(
        labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", ())
    )


def decoded(secret: Mapping[str, str]) -> dict[str, str]:
    return {name: base64.b64decode(data).decode() for name, data in secret.items()}


def _operators_pod(cluster: Manifest) -> Pod:
    """The pods that CloudNativePG makes of a Cluster, as policies and services see them."""
    name = cluster["metadata"]["name"]
    ports = {"postgresql": 5432, "metrics": 9187}
    postgres = {
        "name": "postgres",
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
    }
    labels = {"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"}
    return Pod(name, labels, {"containers": [postgres]})
