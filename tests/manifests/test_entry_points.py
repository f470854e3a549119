"""The check of the images runs whatever a manifest runs in one of them, the keys Job first."""

from deploy.image.entry_points import EntryPoint, workloads
from tests.manifests.cluster import SERVICES, Cluster


def test_every_program_of_every_manifest_is_wanted(wanted: set[EntryPoint]) -> None:
    names = {str(point) for point in wanted}
    assert {"-m deploy.pods keys", "-m cli demo", "-m sandbox"} <= names
    assert {f"-m services.{service}" for service in SERVICES} <= names
    assert {f"-m services.{service} migrate" for service in SERVICES} <= names
    assert {f"-m deploy.pods postgres {service}" for service in SERVICES} <= names
    # Images of others are not ours to check.
    assert not [name for name in names if name.startswith("envoy")]


def test_the_overlay_for_development_runs_all_that_is_wanted(
    dev: Cluster, wanted: set[EntryPoint]
) -> None:
    own = {EntryPoint.of(container) for pod in dev.pods for container in pod.containers}
    assert wanted == own


def test_keys_are_made_first_and_jobs_end_last(dev: Cluster) -> None:
    names = [workload["metadata"]["name"] for workload in workloads(dev.manifests)]
    assert len(names) == len(dev.pods)
    assert (names[0], names[-1]) == ("keys", "demo")
    assert names.index("nats") < names.index("catalog") < names.index("demo")
