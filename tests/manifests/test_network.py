"""Network policies allow the connections that the settings need, and no others."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import pytest

from deploy.pods.keys import Secrets
from tests.manifests.cluster import SERVICES, Cluster, Manifest, Pod, selects
from tests.manifests.test_settings import secret_settings

# From whom, to whom, at which port.
Edge = tuple[str, str, int]
# Where a setting's value leads: scheme or none, host, port.
ADDRESS = re.compile(r"^(?:[a-z+]+:/{2,3})?(?:[^@/]*@)?([a-z][a-z0-9.-]*)(?::(\d+))?")
DEFAULT_PORTS = {"https": 443}
# Names of settings that lead to somebody.
LEADING = re.compile(r"_(URL|TARGET|ENDPOINT)$")
# Where customers and gateways go, and the service does not.
PAGES = {"RECURRING_PAYMENT_PAGE_URL", "RECURRING_CALLBACK_URL"}
# Who answers at a host that is no pod's own name.
OPERATORS_HOSTS = {f"{service}-db-rw": f"{service}-db" for service in SERVICES}
OUTSIDE = "outside"
# By the label of their namespaces.
PLATFORMS = "namespace allowed"
# Where a cache of names answers on each node, unless its administrator chose another address.
NODE_LOCAL_DNS = "169.254.20.10/32"
# Of clusters and of clouds, also inside of addresses of IPv6.
PRIVATE = (
    *("10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1"),
    *(
        "fd00::1",
        "fd00:ec2::254",
        "fe80::1",
        "::1",
        "64:ff9b::a00:1",
        "::ffff:10.0.0.1",
        "2002:a00:1::",
    ),
)


def test_nobody_talks_to_anybody_unless_a_policy_says_so(cluster: Cluster) -> None:
    denied = cluster.named("NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reaches_what_its_settings_lead_to_and_nothing_else(
    cluster: Cluster, service: str, dev_secrets: Secrets
) -> None:
    pod = cluster.pod(service)
    environment = cluster.environment(pod.main)
    for container in pod.containers:
        secrets = secret_settings(cluster, pod, container, dev_secrets)
        environment |= {name.upper(): value for name, value in secrets.items()}
    wanted = {(service, *led) for led in leads(cluster, environment)}
    allowed = {edge for edge in edges(cluster) if edge[0] == service}
    assert wanted == allowed


def test_each_end_lets_the_other_through(cluster: Cluster) -> None:
    inside = {pod.name for pod in cluster.pods}
    out = {edge for edge in egress(cluster) if edge[1] in inside}
    into = {edge for edge in ingress(cluster) if edge[0] in inside}
    assert out - into == set()
    assert {edge for edge in into if edge[2] in cluster.pod(edge[1]).ports.values()} - out == set()


def test_platforms_come_in_at_every_service_in_development(dev: Cluster) -> None:
    platforms = {(PLATFORMS, service, 7401) for service in SERVICES}
    assert {edge for edge in ingress(dev) if edge[0] == PLATFORMS} == {
        *platforms,
        (PLATFORMS, "nats", 4222),
    }


def test_platforms_come_in_at_the_gateway_alone_in_production(prod: Cluster) -> None:
    assert {edge for edge in ingress(prod) if edge[0] == PLATFORMS} == {
        (PLATFORMS, "gateway", 7401),
        (PLATFORMS, "nats", 4222),
    }
    callers = {edge[0] for edge in ingress(prod) if edge[2] == 7401 and edge[1] in SERVICES}
    assert callers == {"gateway"}
    assert {edge for edge in edges(prod) if edge[0] == "gateway"} == {
        *(("gateway", service, 7401) for service in SERVICES),
        ("gateway", "payments", 7404),
        ("gateway", "notify", 7404),
    }


def test_prometheus_comes_in_at_every_services_metrics(cluster: Cluster) -> None:
    watched = {edge for edge in ingress(cluster) if edge[0] == "namespace monitoring"}
    assert {edge for edge in watched if edge[1] in SERVICES} == {
        ("namespace monitoring", service, 9464) for service in SERVICES
    }


def test_nobody_but_prometheus_comes_in_from_its_namespace(cluster: Cluster) -> None:
    peers = [
        peer
        for policy in cluster.all("NetworkPolicy")
        for rule in policy["spec"].get("ingress", ())
        for peer in rule.get("from", ())
        if "monitoring" in peer.get("namespaceSelector", {}).get("matchLabels", {}).values()
    ]
    assert peers
    for peer in peers:
        assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}


def test_every_pod_may_ask_for_names(cluster: Cluster) -> None:
    policy = cluster.named("NetworkPolicy", "dns")["spec"]
    assert policy["podSelector"] == {}
    (rule,) = policy["egress"]
    assert {"ipBlock": {"cidr": NODE_LOCAL_DNS}} in rule["to"]
    assert {(port["port"], port["protocol"]) for port in rule["ports"]} == {
        (53, "UDP"),
        (53, "TCP"),
    }


def test_the_internet_is_that_of_both_protocols_and_nothing_private(prod: Cluster) -> None:
    ends = set()
    for policy in prod.all("NetworkPolicy"):
        for way, end in (("to", "egress"), ("from", "ingress")):
            for rule in policy["spec"].get(end, ()):
                blocks = [peer["ipBlock"] for peer in rule.get(way, ()) if "ipBlock" in peer]
                cidrs = [ip_network(block["cidr"]) for block in blocks]
                if policy["metadata"]["name"] == "dns" or not cidrs:
                    continue
                assert sorted(cidr.version for cidr in cidrs) == [4, 6]
                excepted = [ip_network(cidr) for b in blocks for cidr in b.get("except", ())]
                ends.add(end)
                if end == "egress":
                    assert not [one for one in PRIVATE if _is_allowed(one, cidrs, excepted)]
    assert ends == {"egress", "ingress"}


def _is_allowed(
    address: str, cidrs: list[IPv4Network | IPv6Network], excepted: list[IPv4Network | IPv6Network]
) -> bool:
    one = ip_address(address)
    return any(one in cidr for cidr in cidrs) and not any(one in cidr for cidr in excepted)


def leads(cluster: Cluster, environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Where the settings lead: whose pod and port, or outside."""
    pods = {pod.name for pod in cluster.pods}
    environment = dict(environment)
    if "RECURRING_SMTP_HOST" in environment:
        environment["SMTP_ENDPOINT"] = (
            f"{environment['RECURRING_SMTP_HOST']}:{environment['RECURRING_SMTP_PORT']}"
        )
    for name in environment.keys() - PAGES:
        value = environment[name]
        address = ADDRESS.match(value) if LEADING.search(name) and value else None
        if address:
            host = OPERATORS_HOSTS.get(address[1], address[1])
            port = int(address[2] or DEFAULT_PORTS[urlsplit(value).scheme])
            yield (host if host in pods else OUTSIDE), port


def edges(cluster: Cluster) -> set[Edge]:
    """What both ends let through, and what leads outside."""
    inside = {pod.name for pod in cluster.pods}
    into = ingress(cluster)
    return {edge for edge in egress(cluster) if edge[1] not in inside or edge in into}


def egress(cluster: Cluster) -> set[Edge]:
    return set(_rules(cluster, "Egress"))


def ingress(cluster: Cluster) -> set[Edge]:
    return {(other, pod, port) for pod, other, port in _rules(cluster, "Ingress")}


def _rules(cluster: Cluster, direction: str) -> Iterator[Edge]:
    """Pod, the other end, and the port, of every rule in a direction; DNS is left aside."""
    way, end = ("to", "egress") if direction == "Egress" else ("from", "ingress")
    for policy in cluster.all("NetworkPolicy"):
        if policy["metadata"]["name"] == "dns":
            continue
        assert end not in policy["spec"] or direction in policy["spec"]["policyTypes"]
        for pod in cluster.selected(policy["spec"]["podSelector"]):
            for rule in policy["spec"].get(end, ()):
                for other in _others(cluster, rule.get(way, [{}])):
                    for port in rule["ports"]:
                        target = pod if direction == "Ingress" or isinstance(other, str) else other
                        name = other if isinstance(other, str) else other.name
                        yield pod.name, name, target.port(port["port"])


def _others(cluster: Cluster, peers: list[Manifest]) -> Iterator[Pod | str]:
    for peer in peers:
        if "namespaceSelector" in peer:
            (label,) = peer["namespaceSelector"]["matchLabels"].values()
            yield f"namespace {label}"
        elif "podSelector" in peer:
            yield from (pod for pod in cluster.pods if selects(peer["podSelector"], pod.labels))
        else:
            yield OUTSIDE
