"""Metrics that production monitors and scales by are exported by the services."""

import re
from pathlib import Path

import yaml

from deploy.alerts.__main__ import RULE_FILE, prometheus_rule
from services.catalog.consumers import subscriptions as catalog_subscriptions
from services.notify.consumers import subscriptions as notify_subscriptions
from services.payments.consumers import subscriptions as payments_subscriptions
from services.runtime.messaging.broker import DOMAIN
from services.runtime.workers.clock import SystemClock
from services.scheduler.consumers import subscriptions as scheduler_subscriptions
from tests.manifests.cluster import SERVICES, Cluster, Manifest, selects
from tests.manifests.test_network import ingress
from tests.prometheus import ALERTS, alert_queries, metrics_in


def test_the_operators_rules_are_those_that_are_tested(prod: Cluster) -> None:
    assert RULE_FILE.read_text() == prometheus_rule()
    (rule,) = prod.all("PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ALERTS / "recurring.yaml").read_text())


def test_every_dashboard_is_given_to_grafana(prod: Cluster) -> None:
    given = [
        manifest
        for manifest in prod.all("ConfigMap")
        if manifest["metadata"]["name"].startswith("dashboards-")
    ]
    files = {file for manifest in given for file in manifest["data"]}
    assert files == {file.name for file in Path("deploy/dashboards").glob("*.json")}


def test_prometheus_finds_who_shows_metrics_by_their_names(prod: Cluster) -> None:
    (monitor,) = prod.all("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    services = [
        manifest
        for manifest in prod.all("Service")
        if selects(monitor["spec"]["selector"], manifest["metadata"].get("labels", {}))
    ]
    assert [service_["metadata"]["name"] for service_ in services] == sorted(
        [*SERVICES, "gateway", "prover"]
    )
    for service in services:
        # The alerts' label `job` is the name of the service.
        label = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
        assert label == service["metadata"]["name"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_prometheus_finds_every_database_and_is_let_in(prod: Cluster) -> None:
    (monitor,) = prod.all("PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    pods_selected = prod.selected(monitor["spec"]["selector"])
    assert {pod.name for pod in pods_selected} == {
        manifest["metadata"]["name"] for manifest in prod.all("Cluster")
    }
    for pod in pods_selected:
        # The alerts' label `job` is the name of the cluster.
        assert pod.labels[monitor["spec"]["jobLabel"]] == pod.name
        edge = ("namespace monitoring", pod.name, pod.port(endpoint["port"]))
        assert edge in ingress(prod)


def test_what_a_standby_keeps_of_the_log_fits_on_its_volume(prod: Cluster) -> None:
    for manifest in prod.all("Cluster"):
        kept = manifest["spec"]["postgresql"]["parameters"]["max_slot_wal_keep_size"]
        volume = manifest["spec"]["walStorage"]["size"]
        assert int(kept.removesuffix("GB")) < 0.8 * int(volume.removesuffix("Gi"))


def test_the_collector_has_the_settings_that_its_configuration_uses(prod: Cluster) -> None:
    pod = prod.pod("otel-collector")
    ((_, name, _),) = pod.mounted(pod.main)
    queried = set(re.findall(r"\$\{env:(\w+)\}", prod.files("ConfigMap", name)["collector.yml"]))
    assert queried == set(prod.environment(pod.main))


def test_consumers_are_scaled_by_every_stream_that_they_consume(prod: Cluster) -> None:
    heard: dict[str, set[str]] = {
        "catalog": set(catalog_subscriptions(SystemClock())),
        "scheduler": set(scheduler_subscriptions(SystemClock())),
        "payments": set(payments_subscriptions(SystemClock())),
        "notify": set(notify_subscriptions(SystemClock())),
    }
    for service, streams in heard.items():
        watched = triggers(prod, service, "nats-jetstream")
        assert {rule["stream"] for rule in watched} == streams
        for rule in watched:
            assert rule["consumer"] == service
            # The broker's only account with streams has their domain's name.
            assert rule["account"] == DOMAIN
            host, _, port = rule["natsServerMonitoringEndpoint"].partition(":")
            assert host.startswith("nats.recurring.svc")
            assert prod.pod("nats").ports["monitor"] == int(port)


def test_the_scheduler_is_scaled_by_a_lateness_that_alerts_know(prod: Cluster) -> None:
    (trigger,) = triggers(prod, "scheduler", "prometheus")
    queried = metrics_in([trigger["query"]])
    assert queried == {"recurring_cycles_oldest_lateness_seconds"}
    assert queried <= metrics_in(alert_queries())


def triggers(cluster: Cluster, service: str, kind: str) -> list[Manifest]:
    spec = cluster.named("ScaledObject", service)["spec"]
    return [trigger["metadata"] for trigger in spec["triggers"] if trigger["type"] == kind]
