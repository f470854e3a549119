"""The overlays, rendered once."""

from pathlib import Path

import pytest
import yaml

from deploy.manifests import render_overlay
from deploy.pods.keys import Secrets, secrets_of
from tests.manifests.cluster import Cluster


@pytest.fixture(scope="session")
def dev() -> Cluster:
    return Cluster("dev", list(yaml.safe_load_all(render_overlay("dev"))))


@pytest.fixture(scope="session")
def prod() -> Cluster:
    return Cluster("prod", list(yaml.safe_load_all(render_overlay("prod"))))


@pytest.fixture(params=["dev", "prod"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    cluster_: Cluster = request.getfixturevalue(request.param)
    return cluster_


@pytest.fixture(scope="session")
def dev_secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """What the Job `keys` makes in the development overlay."""
    folder: Path = tmp_path_factory.mktemp("keys")
    return secrets_of(folder, "recurring")
