"""Whatever a manifest names is there: pods, ports, accounts, settings, secrets."""

import re

import pytest

from deploy.manifests import components, overlays, render_component
from deploy.pods.keys import Secrets
from tests.manifests.cluster import SERVICES, WORKLOADS, Cluster, selects

HASHED = re.compile(r".+-[a-z0-9]{10}")
# Secrets that an operator makes for a resource of its own: kind -> how the Secret is named.
MADE_BY_OPERATORS = {"Cluster": "{name}-ca"}


@pytest.mark.parametrize("name", components())
def test_every_component_builds_upon_the_base(name: str) -> None:
    assert "kind: Deployment" in render_component(name)


def test_there_is_an_overlay_for_development_and_one_for_production() -> None:
    assert overlays() == ["dev", "prod"]


def test_every_selector_finds_its_own_workload_and_no_other(cluster: Cluster) -> None:
    for kind in ("Deployment", "StatefulSet"):
        for manifest in cluster.all(kind):
            name = manifest["metadata"]["name"]
            assert [pod.name for pod in cluster.selected(manifest["spec"]["selector"])] == [name]


def test_every_service_has_pods_with_its_ports(cluster: Cluster) -> None:
    for service in cluster.all("Service"):
        pods = cluster.selected({"matchLabels": service["spec"]["selector"]})
        assert [pod.name for pod in pods] == [service["metadata"]["name"]]
        for port in service["spec"]["ports"]:
            assert pods[0].port(port["targetPort"]) == port["port"]


def test_every_probe_asks_at_a_port_of_its_container(cluster: Cluster) -> None:
    for pod in cluster.pods:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            request = pod.main.get(probe, {})
            for way in ("grpc", "httpGet", "tcpSocket"):
                if way in request:
                    assert pod.port(request[way]["port"]) in pod.ports.values()


def test_every_budget_and_scaler_has_something_to_watch(cluster: Cluster) -> None:
    for budget in cluster.all("PodDisruptionBudget"):
        assert len(cluster.selected(budget["spec"]["selector"])) == 1
    targets = [
        scaler["spec"]["scaleTargetRef"]["name"]
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for scaler in cluster.all(kind)
    ]
    assert sorted(targets) == sorted([*SERVICES, *(["gateway"] if cluster.name == "prod" else [])])


def test_spread_constraints_select_only_their_own_pods(cluster: Cluster) -> None:
    for pod in cluster.pods:
        for spread in pod.spec.get("topologySpreadConstraints", ()):
            assert selects(spread["labelSelector"], pod.labels)
            assert set(spread.get("matchLabelKeys", ())) <= {*pod.labels, "pod-template-hash"}


def test_every_pod_has_an_account_of_its_own_without_a_token(cluster: Cluster) -> None:
    for kind in WORKLOADS:
        for manifest in cluster.all(kind):
            spec = manifest["spec"]["template"]["spec"]
            account = cluster.named("ServiceAccount", spec["serviceAccountName"])
            assert account["automountServiceAccountToken"] is False
            # The Job that makes the keys is the one that talks to the cluster itself.
            assert spec["automountServiceAccountToken"] is (manifest["metadata"]["name"] == "keys")


def test_every_configuration_is_there_and_never_changes_under_its_name(cluster: Cluster) -> None:
    used = set()
    for pod in cluster.pods:
        for container in pod.containers:
            used |= {source["configMapRef"]["name"] for source in container.get("envFrom", ())}
            used |= {name for kind, name, _ in pod.mounted(container) if kind == "ConfigMap"}
    for clusters in cluster.all("Cluster"):
        referred = clusters["spec"]["bootstrap"]["initdb"]["postInitApplicationSQLRefs"]
        used |= {reference["name"] for reference in referred["configMapRefs"]}
    # Dashboards are for Grafana, which finds them by a label.
    used |= {
        manifest["metadata"]["name"]
        for manifest in cluster.all("ConfigMap")
        if "grafana_dashboard" in manifest["metadata"]["labels"]
    }
    assert used == {manifest["metadata"]["name"] for manifest in cluster.all("ConfigMap")}
    for manifest in cluster.all("ConfigMap"):
        assert manifest["immutable"] is True
        assert HASHED.fullmatch(manifest["metadata"]["name"])


def test_no_secret_is_written_down_and_none_is_in_an_environment(cluster: Cluster) -> None:
    assert cluster.all("Secret") == []
    for pod in cluster.pods:
        for container in pod.containers:
            for variable in container.get("env", ()):
                assert "secretKeyRef" not in variable.get("valueFrom", {})
            assert not any("secretRef" in source for source in container.get("envFrom", ()))


def test_every_secret_of_development_is_made_by_its_keys(
    dev: Cluster, dev_secrets: Secrets
) -> None:
    assert mounted_secrets(dev) == set(dev_secrets)


def test_every_secret_of_production_is_made_by_some_operator(prod: Cluster) -> None:
    made = {manifest["metadata"]["name"] for manifest in prod.all("ExternalSecret")}
    made |= {manifest["spec"]["secretName"] for manifest in prod.all("Certificate")}
    for kind, pattern in MADE_BY_OPERATORS.items():
        made |= {pattern.format(name=manifest["metadata"]["name"]) for manifest in prod.all(kind)}
    passwords = {
        role["passwordSecret"]["name"]
        for manifest in prod.all("Cluster")
        for role in manifest["spec"]["managed"]["roles"]
        if "passwordSecret" in role
    }
    assert mounted_secrets(prod) | passwords | {"authority"} == made


def test_every_certificate_comes_from_an_authority_that_is_there(prod: Cluster) -> None:
    for manifest in prod.all("Certificate"):
        prod.named("Issuer", manifest["spec"]["issuerRef"]["name"])


def test_a_service_mounts_no_other_services_secrets(cluster: Cluster) -> None:
    for service in SERVICES:
        pod = cluster.pod(service)
        for container in pod.containers:
            for kind, name, _ in pod.mounted(container):
                others = [
                    other for other in SERVICES if other != service and name.startswith(other)
                ]
                assert kind != "Secret" or not others


def test_the_migrators_secret_is_where_migrations_run_and_nowhere_else(cluster: Cluster) -> None:
    for service in SERVICES:
        pod = cluster.pod(service)
        (migrate,) = pod.spec["initContainers"]
        assert f"{service}-migrator" in {name for _, name, _ in pod.mounted(migrate)}
        assert f"{service}-secrets" not in {name for _, name, _ in pod.mounted(migrate)}
        assert f"{service}-migrator" not in {name for _, name, _ in pod.mounted(pod.main)}


def mounted_secrets(cluster: Cluster) -> set[str]:
    return {
        name
        for pod in cluster.pods
        for container in pod.containers
        for kind, name, _ in pod.mounted(container)
        if kind == "Secret"
    }
