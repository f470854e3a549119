"""The queries of dashboards and alerts."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
ALERTS = ROOT / "deploy" / "alerts"
DASHBOARDS = ROOT / "deploy" / "dashboards"
# What rules ask of others than the services: CloudNativePG (docs/src/monitoring.md and its
# default-monitoring.yaml), its Barman Cloud plugin (internal/cnpgi/instance/metrics.go), the kubelet;
# and Envoy and the prover, which tests of their own ask.
EXPORTED_BY_OTHERS = {
    "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp",
    "cnpg_pg_replication_lag",
    "cnpg_pg_replication_streaming_replicas",
    "cnpg_pg_stat_archiver_last_archived_time",
    "cnpg_pg_stat_archiver_last_failed_time",
    "envoy_http2_header_list_size_too_large",
    "envoy_http2_header_overflow",
    "envoy_http_local_rate_limit_rate_limited",
    "envoy_overload_envoy_overload_actions_stop_accepting_requests_active",
    "envoy_server_live",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "recurring_proof_timestamp_seconds",
    "recurring_proof_violations",
}
_SERIES = re.compile(
    r"\b(?:recurring|rpc|messaging|process|barman|cnpg|envoy|kubelet)[_:][a-z0-9_:]+"
)


def rules() -> list[dict[str, Any]]:
    """Every rule, recording or alerting."""
    groups = yaml.safe_load((ALERTS / "recurring.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alert_queries() -> list[str]:
    """The expressions of the rules."""
    return [rule["expr"] for rule in rules()]


def dashboard_queries() -> list[str]:
    """The expressions of all panels of all dashboards."""
    return [
        target["expr"]
        for file in DASHBOARDS.glob("*.json")
        for panel in json.loads(file.read_text())["panels"]
        for target in panel.get("targets", ())
    ]


def metrics_in(queries: Iterable[str]) -> set[str]:
    """The names of the series that PromQL expressions ask for."""
    metrics: set[str] = set()
    for query in queries:
        # Labels have names as series do, but stand in braces or after `by`.
        bare = re.sub(r"\{[^}]*\}|\bby \([^)]*\)|\[[^]]*\]", " ", query)
        metrics.update(_SERIES.findall(bare))
    return metrics
