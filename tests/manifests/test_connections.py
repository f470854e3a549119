"""The database of a service accepts the connections of all its replicas at once."""

import pytest

from services.runtime.db.pool import CHECK_CONNECTIONS
from tests.manifests.cluster import SERVICES, Cluster

# PostgreSQL keeps three for superusers; the rest is for operators, exporters and migrations.
OTHERS_CONNECTIONS = 10


@pytest.mark.parametrize("service", SERVICES)
def test_a_database_has_room_for_every_replica_while_one_takes_the_place_of_another(
    prod: Cluster, service: str
) -> None:
    scaled = prod.named("ScaledObject", service)
    [database] = [
        manifest for manifest in prod.all("Cluster") if service in manifest["metadata"]["name"]
    ]
    settings = prod.environment(prod.pod(service).main)
    connections = CHECK_CONNECTIONS + sum(
        int(settings[f"RECURRING_DATABASE_{share}_CONNECTIONS"]) for share in ("CALL", "WORKER")
    )
    replicas = int(scaled["spec"]["maxReplicaCount"]) + 1
    most = int(database["spec"]["postgresql"]["parameters"]["max_connections"])
    assert replicas * connections + OTHERS_CONNECTIONS <= most
