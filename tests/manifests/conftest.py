"""The overlays, rendered once."""

from pathlib import Path

import pytest

from deploy.image.entry_points import EntryPoint
from deploy.image.entry_points import wanted as wanted_entry_points
from deploy.manifests import parse, render_overlay
from deploy.pods.keys import Secrets, secrets_of
from tests.manifests.cluster import Cluster


@pytest.fixture(scope="session")
def dev() -> Cluster:
    return Cluster("dev", parse(render_overlay("dev")))


@pytest.fixture(scope="session")
def prod() -> Cluster:
    return Cluster("prod", parse(render_overlay("prod")))


@pytest.fixture(params=["dev", "prod"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    cluster_: Cluster = request.getfixturevalue(request.param)
    return cluster_


@pytest.fixture(scope="session")
def wanted() -> set[EntryPoint]:
    """What any overlay or component runs in one of the images."""
    return wanted_entry_points()


@pytest.fixture(scope="session")
def dev_secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """What the Job `keys` makes in the development overlay."""
    folder: Path = tmp_path_factory.mktemp("keys")
    return secrets_of(folder, "recurring")
