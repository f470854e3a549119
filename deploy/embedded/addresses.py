"""Where each part of the stack answers: on a port here, or wherever the environment says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from deploy.embedded.ports import HOST, free_ports
from deploy.embedded.process import PartError

SERVICES = ("catalog", "scheduler", "payments", "notify")
PARTS = ("postgres", "nats", "sandbox", *SERVICES)

PORT_BASE = 17400
PORT_BASE_VARIABLE = "RECURRING_PORT_BASE"
PORT_MAX = 65_535
# Port name -> its distance from the base.
PORT_OFFSETS = {
    "postgres": 0,
    "nats": 1,
    "sandbox": 2,
    "sandbox_smtp": 3,
    **{service: 10 + index for index, service in enumerate(SERVICES)},
    **{f"{service}_metrics": 20 + index for index, service in enumerate(SERVICES)},
    **{f"{service}_peer": 30 + index for index, service in enumerate(SERVICES)},
    **{f"{service}_health": 40 + index for index, service in enumerate(SERVICES)},
    "payments_webhook": 52,
    "notify_callback": 53,
}
# Part -> the variable that names a server to use in its place.
REPLACEMENT_VARIABLES = {
    "postgres": "RECURRING_POSTGRES_URL",
    "nats": "RECURRING_NATS_URL",
    "sandbox": "RECURRING_SANDBOX_URL",
    **{service: f"RECURRING_{service.upper()}_TARGET" for service in SERVICES},
}
# Where the other services call one that runs elsewhere.
PEER_VARIABLES = {service: f"RECURRING_{service.upper()}_PEER_TARGET" for service in SERVICES}
SMTP_VARIABLE = "RECURRING_SANDBOX_SMTP"
REPLACED_SMTP_PORT = 25


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports of this machine's parts, and the addresses of those that run elsewhere."""

    ports: Mapping[str, int]
    # Part -> address of a server that is used in its place and not started here.
    replaced: Mapping[str, str] = field(default_factory=dict)
    # Service -> where the other services call it.
    replaced_peers: Mapping[str, str] = field(default_factory=dict)
    # host:port of the mail server beside a sandbox that runs elsewhere.
    replaced_smtp: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Addresses":
        """Read ports and replacements; raises PartError naming every bad variable."""
        base = _port(environment, PORT_BASE_VARIABLE, PORT_BASE)
        ports = {
            name: _port(environment, port_variable(name), base + offset)
            for name, offset in PORT_OFFSETS.items()
        }
        for port in set(ports.values()):
            sharing = [name for name, taken_port in ports.items() if taken_port == port]
            if len(sharing) > 1:
                variables = " and ".join(port_variable(name) for name in sharing)
                raise PartError(f"port {port} is given to {' and '.join(sharing)}: set {variables}")
        replaced = {
            part: environment[variable]
            for part, variable in REPLACEMENT_VARIABLES.items()
            if environment.get(variable)
        }
        peers = {
            service: environment[variable]
            for service, variable in PEER_VARIABLES.items()
            if environment.get(variable)
        }
        for service in SERVICES:
            if (service in replaced) != (service in peers):
                variables = f"{REPLACEMENT_VARIABLES[service]} and {PEER_VARIABLES[service]}"
                raise PartError(f"{service} runs elsewhere: set both {variables}")
        return cls(ports, replaced, peers, environment.get(SMTP_VARIABLE, ""))

    @classmethod
    def free(cls) -> "Addresses":
        """Return addresses on ports that nobody uses now."""
        return cls(dict(zip(PORT_OFFSETS, free_ports(len(PORT_OFFSETS)), strict=True)))

    def local(self, port_name: str) -> str:
        """Return host:port of a port on this machine."""
        return f"{HOST}:{self.ports[port_name]}"

    def target(self, service: str) -> str:
        """Return host:port where a service answers platforms."""
        return self.replaced.get(service) or self.local(service)

    def peer_target(self, service: str) -> str:
        """Return host:port where a service answers the other services."""
        return self.replaced_peers.get(service) or self.local(f"{service}_peer")

    @property
    def postgres_url(self) -> str:
        """Where PostgreSQL answers; with the administrator's account if it runs elsewhere."""
        return self.replaced.get("postgres") or f"postgresql://{self.local('postgres')}/postgres"

    @property
    def nats_url(self) -> str:
        """Where NATS answers."""
        return self.replaced.get("nats") or f"nats://{self.local('nats')}"

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers HTTP; without a slash at its end."""
        return self.replaced.get("sandbox", "").rstrip("/") or f"http://{self.local('sandbox')}"

    @property
    def smtp(self) -> tuple[str, int]:
        """Host and port of the mail server."""
        if "sandbox" not in self.replaced:
            return HOST, self.ports["sandbox_smtp"]
        host, _, port = self.replaced_smtp.rpartition(":")
        if host and port.isdigit():
            return host, int(port)
        return self.replaced_smtp or host_of(self.replaced["sandbox"]), REPLACED_SMTP_PORT

    def of(self, part: str) -> str:
        """Return the address of a part, as shown to people: never with a password."""
        urls = {
            "postgres": self.postgres_url,
            "nats": self.nats_url,
            "sandbox": self.sandbox_url,
        }
        return without_password(urls[part]) if part in urls else self.target(part)


def port_variable(port_name: str) -> str:
    """Return the variable that sets a port."""
    return f"RECURRING_{port_name.upper()}_PORT"


def port_names(part: str) -> Iterable[str]:
    """Return the names of the ports that a part listens on."""
    return (name for name in PORT_OFFSETS if name == part or name.startswith(f"{part}_"))


def without_password(url: str) -> str:
    """Return a URL without the account it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def host_of(url: str) -> str:
    """Return the host of a URL."""
    return urlsplit(url).hostname or ""


def _port(environment: Mapping[str, str], variable: str, default: int) -> int:
    text = environment.get(variable, "")
    if not text:
        return default
    if not text.isdigit() or not 0 < int(text) <= PORT_MAX:
        raise PartError(f"{variable} is not a port number between 1 and {PORT_MAX}: {text!r}")
    return int(text)
