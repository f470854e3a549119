"""Operators' resources have no field but those known: a cluster drops a misspelt one, or refuses it.

Kubernetes' own resources are checked against its schemas; those of the operators come with them.
Whoever uses another field looks it up in the operator's reference, and adds it here.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.manifests import is_kubernetes_own
from tests.manifests.cluster import Cluster, Manifest

# Kind -> the fields of its spec that the overlays use; below a `*` names are the owner's choice.
KNOWN_FIELDS = {
    "barmancloud.cnpg.io/v1 ObjectStore": """
        configuration.data.compression
        configuration.destinationPath
        configuration.s3Credentials.inheritFromIAMRole
        configuration.wal.compression
        retentionPolicy
    """,
    "cert-manager.io/v1 Certificate": """
        commonName dnsNames duration isCA renewBefore secretName uris usages
        issuerRef.kind issuerRef.name
        privateKey.algorithm privateKey.rotationPolicy privateKey.size
    """,
    "cert-manager.io/v1 Issuer": """
        ca.secretName selfSigned
    """,
    "external-secrets.io/v1 ExternalSecret": """
        data.remoteRef.key data.remoteRef.property data.secretKey
        refreshInterval
        secretStoreRef.kind secretStoreRef.name
        target.name target.template.data.* target.template.metadata.labels.* target.template.type
    """,
    "keda.sh/v1alpha1 ScaledObject": """
        cooldownPeriod maxReplicaCount minReplicaCount pollingInterval
        scaleTargetRef.name
        triggers.metadata.* triggers.metricType triggers.type
    """,
    "monitoring.coreos.com/v1 PodMonitor": """
        jobLabel selector.matchLabels.*
        podMetricsEndpoints.interval podMetricsEndpoints.port podMetricsEndpoints.scrapeTimeout
    """,
    "monitoring.coreos.com/v1 PrometheusRule": """
        groups.name
        groups.rules.alert groups.rules.annotations.* groups.rules.expr groups.rules.for
        groups.rules.labels.* groups.rules.record
    """,
    "monitoring.coreos.com/v1 ServiceMonitor": """
        jobLabel
        selector.matchExpressions.key selector.matchExpressions.operator
        selector.matchExpressions.values
        endpoints.interval endpoints.port endpoints.scrapeTimeout
    """,
    "postgresql.cnpg.io/v1 Cluster": """
        affinity.podAntiAffinityType affinity.topologyKey
        bootstrap.initdb.database bootstrap.initdb.encoding bootstrap.initdb.locale
        bootstrap.initdb.localeProvider bootstrap.initdb.owner
        bootstrap.initdb.postInitApplicationSQLRefs.configMapRefs.key
        bootstrap.initdb.postInitApplicationSQLRefs.configMapRefs.name
        enablePDB enableSuperuserAccess imageName instances primaryUpdateStrategy
        managed.roles.bypassrls managed.roles.inRoles managed.roles.login managed.roles.name
        managed.roles.passwordSecret.name
        plugins.isWALArchiver plugins.name plugins.parameters.*
        postgresql.parameters.*
        postgresql.synchronous.dataDurability postgresql.synchronous.method
        postgresql.synchronous.number
        resources.limits.memory resources.requests.cpu resources.requests.memory
        storage.size walStorage.size
        topologySpreadConstraints.labelSelector.matchLabels.*
        topologySpreadConstraints.maxSkew topologySpreadConstraints.topologyKey
        topologySpreadConstraints.whenUnsatisfiable
    """,
    "postgresql.cnpg.io/v1 Database": """
        cluster.name databaseReclaimPolicy name owner schemas.name schemas.owner
    """,
    "postgresql.cnpg.io/v1 ScheduledBackup": """
        backupOwnerReference cluster.name method pluginConfiguration.name schedule
    """,
}
# What each trigger of KEDA can be told.
TRIGGERS = {
    "cpu": {"value"},
    "nats-jetstream": {
        "account", "consumer", "lagThreshold", "natsServerMonitoringEndpoint", "stream",
    },
    "prometheus": {"query", "serverAddress", "threshold"},
}  # fmt: skip


@pytest.mark.parametrize("kind", KNOWN_FIELDS)
def test_a_resource_has_known_fields_alone(prod: Cluster, kind: str) -> None:
    known = set(KNOWN_FIELDS[kind].split())
    used = {
        field
        for custom_resource in custom_resources(prod)
        if kind_of(custom_resource) == kind
        for field in fields(custom_resource["spec"], known)
    }
    assert used == known


def test_every_kind_of_an_operator_is_known(cluster: Cluster) -> None:
    assert {kind_of(custom_resource) for custom_resource in custom_resources(cluster)} <= set(
        KNOWN_FIELDS
    )


def test_a_trigger_has_the_fields_that_it_needs(prod: Cluster) -> None:
    for scaled in prod.all("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            assert set(trigger["metadata"]) == TRIGGERS[trigger["type"]]


def custom_resources(cluster: Cluster) -> list[Manifest]:
    return [
        manifest for manifest in cluster.manifests if not is_kubernetes_own(manifest["apiVersion"])
    ]


def kind_of(resource: Manifest) -> str:
    return f"{resource['apiVersion']} {resource['kind']}"


def fields(value: Any, known: set[str], path: str = "") -> Iterator[str]:  # noqa: ANN401 - any YAML
    """Where the values are, as the table has them."""
    if isinstance(value, list):
        for element in value:
            yield from fields(element, known, path)
    elif isinstance(value, dict) and f"{path}.*" in known:
        yield f"{path}.*"
    elif isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from fields(inner, known, f"{path}.{name}" if path else name)
    else:
        yield path
