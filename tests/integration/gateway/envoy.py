"""Envoy with production's configuration, in front of services on this machine."""

import re
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.request import urlopen

import yaml

from deploy.embedded.keys import Keys
from deploy.embedded.ports import HOST, free_ports, wait_until_ready
from deploy.embedded.process import Process

COMPONENT = Path(__file__).resolve().parents[3] / "deploy" / "components" / "gateway"
PROGRAM = Path(sysconfig.get_path("scripts")) / "envoy"
# Where its pod has what it reads.
CONFIGURATION = "/etc/envoy"
CERTIFICATE, AUTHORITY = "/etc/recurring/tls", "/etc/recurring/authority"
TIMEOUT_SECONDS = 5.0
WEBHOOK_PORT = 7404
MEBIBYTE = 1024**2
_SAMPLE = re.compile(r"^(\w+\{[^}]*\}) (\S+)$", re.MULTILINE)


class Gateway:
    """A gateway on free ports, which shows a certificate of its own from these keys' authority."""

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        services: Mapping[str, str],
        limits: Mapping[str, int] = MappingProxyType({}),
        name_server_port: int | None = None,
    ) -> None:
        """`limits` are instead of production's, by their names in the configuration."""
        self._limits = limits
        self._name_server_port = name_server_port
        self._folder = folder
        self._folders = {
            CONFIGURATION: folder,
            CERTIFICATE: keys.authority.ensure(folder / "tls", "gateway", (HOST, "localhost")),
            AUTHORITY: keys.authority.certificate_file.parent,
        }
        own, metrics, admin, webhooks, receiver = free_ports(5)
        self.address, self._metrics = f"{HOST}:{own}", f"http://{HOST}:{metrics}"
        self._services = services
        # Where webhooks come in, and where payments takes them.
        self.webhook_address, self.receiver_address = f"{HOST}:{webhooks}", f"{HOST}:{receiver}"
        self._ports = {7401: own, 9464: metrics, 9901: admin, WEBHOOK_PORT: webhooks}
        self.process = Process(
            name="envoy",
            command=[str(PROGRAM), *self._arguments()],
            log_file=folder / "envoy.log",
            pid_file=folder / "process.json",
            working_folder=folder,
        )

    def start(self) -> None:
        """Start it, and return when it says that it is ready."""
        for file in (COMPONENT / "envoy").glob("*.yaml"):
            here = self._here(yaml.safe_load(file.read_text()))
            (self._folder / file.name).write_text(yaml.safe_dump(here))
        self.process.start()
        wait_until_ready(self.process, self.is_ready)

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()

    def metrics(self) -> Mapping[str, float]:
        """What Prometheus reads, by names with their labels."""
        samples = _SAMPLE.findall(self._asked("/metrics"))
        return {name: float(value) for name, value in samples}

    def passed_on(self, service: str) -> int:
        """How many calls a service has heard of."""
        counted = f'envoy_cluster_upstream_rq_total{{envoy_cluster_name="{service}"}}'
        return int(self.metrics().get(counted, 0))

    @property
    def memory_mebibytes(self) -> float:
        """What it has of the machine's memory."""
        process = self.process.find()
        assert process is not None, "Envoy has ended"
        return float(process.memory_info().rss / MEBIBYTE)

    def is_ready(self) -> bool:
        """What a probe is told."""
        try:
            return self._asked("/ready") == "LIVE\n"
        except OSError:
            return False

    def _asked(self, path: str) -> str:
        with urlopen(self._metrics + path, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return str(answer.read().decode())

    def _arguments(self) -> list[str]:
        """What its container is told."""
        manifests = yaml.safe_load_all((COMPONENT / "gateway.yaml").read_text())
        (deployment,) = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["envoy"]
        return [self._here(argument) for argument in container["args"]]

    def _here(self, node: Any) -> Any:  # noqa: ANN401 - a part of a configuration
        """The same on this machine."""
        if isinstance(node, list):
            return [self._here(element) for element in node]
        if isinstance(node, str):
            for there, here in self._folders.items():
                node = node.replace(there, str(here))
            return node
        if not isinstance(node, dict):
            return node
        if "port_value" in node:
            own = f"{HOST}:{self._ports[node['port_value']]}"
            if node["port_value"] == WEBHOOK_PORT and node["address"] in self._services:
                port = self.receiver_address.partition(":")[2]
                return {"address": HOST, "port_value": int(port)}
            host, _, port = self._services.get(node["address"], own).partition(":")
            return {"address": host, "port_value": int(port)}
        node_here = {
            name: self._limits.get(name, self._here(value)) for name, value in node.items()
        }
        if node.get("type") == "STRICT_DNS" and self._name_server_port:
            node_here["typed_dns_resolver_config"] = _asking_at(self._name_server_port)
        return node_here


def _asking_at(name_server_port: int) -> dict[str, Any]:
    """Have names looked up at a server of this machine, in place of the cluster's."""
    types = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3"
    return {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": f"{types}.CaresDnsResolverConfig",
            "resolvers": [{"socket_address": {"address": HOST, "port_value": name_server_port}}],
            "dns_resolver_options": {"no_default_search_domain": True},
        },
    }
