"""What the dashboards show. Gauges are read by each replica from one database: the largest counts."""

from collections.abc import Sequence
from dataclasses import dataclass

SERVICES = ("catalog", "scheduler", "payments", "notify")
RATE = "[$__rate_interval]"
# What the conventions call the type of an event, or its stream.
TYPE = "messaging_destination_name"
# The caller is not at fault for these.
FAILURES = "INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS"


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: PromQL and the legend of its lines."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    description: str = ""
    # Where a line is drawn: what is above it is not as it should be.
    bad_from: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Graphs side by side."""

    title: str
    panels: Sequence[Panel]


def suite_rows() -> list[Row]:
    """The suite at a glance: whether customers get what they were promised, and what waits."""
    return [
        Row("Promises", [
            Panel("Calls that failed", "percentunit", [
                ("max by (job) (recurring:calls:error_ratio_rate1h)", "{{job}}")],
                "Of all calls of an hour; callers' own mistakes do not count.", 0.001),
            Panel("Cycles more than a minute late", "percentunit", [
                ("max by (stage) (recurring:cycles:late_ratio_rate1h)", "{{stage}}")],
                "Of all cycles of an hour.", 0.001),
            Panel("Oldest due cycle", "s", [
                ("max by (stage) (recurring_cycles_oldest_lateness_seconds)", "{{stage}}")],
                "How late the cycle is that has been due for longest.", 60),
        ]),
        Row("Money", [
            Panel("Answers of the provider", "ops", [
                (_rate("recurring_charge_attempts_total", "outcome"), "{{outcome}}")]),
            Panel("Outcome unknown", "short", [
                ("max(recurring_charges_unknown)", "charges"),
                ("max(recurring_refunds_pending)", "refunds not answered"),
                ("max(recurring_charges_mismatched)", "answered falsely")]),
            Panel("Oldest unknown outcome", "s", [
                ("max(recurring_charges_unknown_oldest_age_seconds)", "charge"),
                ("max(recurring_refunds_oldest_age_seconds)", "refund")], bad_from=3600),
        ]),
        Row("Customers", [
            Panel("Cycles worked on", "ops", [
                (_rate("recurring_cycle_lateness_seconds_count", "stage"),
                 "{{stage}}")]),
            Panel("Notices", "ops", [
                (_rate("recurring_notices_total", "kind, outcome") + " > 0",
                 "{{kind}} {{outcome}}")]),
            Panel("Messages past their deadline", "short", [
                ("max(recurring_notices_past_deadline)", "messages")], bad_from=1),
            Panel("Replies of customers", "ops", [
                (_rate("recurring_replies_total", "word"), "{{word}}")]),
            Panel("Oldest reply that is not dealt with", "s", [
                ("max(recurring_replies_oldest_age_seconds)", "age")], bad_from=600),
            Panel("One-time codes", "ops", [
                (_rate("recurring_phone_codes_total", "outcome"), "{{outcome}}")]),
        ]),
        Row("Between the services", [
            Panel("Oldest event not published", "s", [
                ("max by (job) (recurring_outbox_oldest_age_seconds)", "{{job}}")], bad_from=60),
            Panel("Events not delivered", "short", [
                ("max by (job, stream) (recurring_consumer_pending)", "{{job}} of {{stream}}")]),
            Panel("Dead letters", "short", [
                ("max by (job) (recurring_dead_letters_kept)", "{{job}}")], bad_from=1),
            Panel("Replicas ready", "short", [("sum by (job) (recurring_ready)", "{{job}}")]),
        ]),
        Row("What runs", [
            Panel("CPU", "short", [
                (_rate("process_cpu_seconds_total", "job"), "{{job}}")]),
            Panel("Memory", "bytes", [
                ("max by (job) (process_resident_memory_bytes)", "{{job}}")]),
            Panel("Versions", "short", [
                ("count by (job, version, schema) (recurring_build_info)",
                 "{{job}} {{version}}, schema {{schema}}")]),
            Panel("Encrypted values that no key decrypted", "short", [
                ("sum by (job) (increase(recurring_encrypted_unreadable_total[15m]))", "{{job}}")],
                bad_from=1),
        ]),
    ]  # fmt: skip


def service_rows(service: str) -> list[Row]:
    """One service: its calls, events and workers, and what only it has."""
    job = f'{{job="{service}"}}'
    calls = f"rpc_server_call_duration_seconds_count{job}"
    failing = f'{{job="{service}", outcome="error"}}'
    failed = (
        "rpc_server_call_duration_seconds_count"
        f'{{job="{service}", rpc_response_status_code=~"{FAILURES}"}}'
    )
    return [
        Row("Calls", [
            Panel("Calls", "reqps", [
                (_rate(calls, "rpc_method"), "{{rpc_method}}")]),
            Panel("Calls that failed", "reqps", [
                (_rate(failed, "rpc_method, rpc_response_status_code"),
                 "{{rpc_method}} {{rpc_response_status_code}}")]),
            Panel("Time of a call, 99th percentile", "s", [
                (_percentile(f"rpc_server_call_duration_seconds_bucket{job}", "rpc_method"),
                 "{{rpc_method}}")]),
        ]),
        Row("Events", [
            Panel("Handled", "ops", [
                (_rate(f"messaging_client_consumed_messages_total{job}", TYPE), f"{{{{{TYPE}}}}}")]),
            Panel("Batches", "ops", [
                (_rate(f"messaging_process_duration_seconds_count{job}", f"{TYPE}, outcome"),
                 f"{{{{{TYPE}}}}} {{{{outcome}}}}")]),
            Panel("Time of a batch, 99th percentile", "s", [
                (_percentile(f"messaging_process_duration_seconds_bucket{job}", TYPE),
                 f"{{{{{TYPE}}}}}")]),
            Panel("Waiting", "short", [
                (f"max by (stream) (recurring_consumer_pending{job})", "{{stream}}"),
                (f"max by (stream) (recurring_consumer_unacknowledged{job})",
                 "{{stream}} in hand"),
                (f"max(recurring_dead_letters_kept{job})", "dead letters")]),
        ]),
        Row("Outbox", [
            Panel("Published", "ops", [
                (_rate(f"messaging_client_sent_messages_total{job}", TYPE), f"{{{{{TYPE}}}}}")]),
            Panel("Not published", "short", [
                (f"max(recurring_outbox_unpublished{job})", "events")]),
            Panel("Oldest not published", "s", [
                (f"max(recurring_outbox_oldest_age_seconds{job})", "age")], bad_from=60),
            Panel("Size", "bytes", [(f"max(recurring_outbox_size_bytes{job})", "outbox")]),
        ]),
        Row("Workers", [
            Panel("Rows", "ops", [
                (_rate(f"recurring_worker_rows_total{job}", "worker") + " > 0", "{{worker}}")]),
            Panel("Steps that failed", "ops", [
                (_rate(f"recurring_worker_step_duration_seconds_count{failing}", "worker"),
                 "{{worker}}")]),
            Panel("Time of a step, 99th percentile", "s", [
                (_percentile(f"recurring_worker_step_duration_seconds_bucket{job}", "worker"),
                 "{{worker}}")]),
            Panel("Buckets of due work", "short", [
                (f"recurring_buckets_leased{job}", "{{instance}}"),
                (f"max(recurring_buckets_unleased{job})", "leased by nobody")]),
        ]),
        Row(f"Only {service}", _OWN[service]),
        Row("Processes", [
            Panel("Ready", "short", [(f"recurring_ready{job}", "{{instance}}")]),
            Panel("CPU", "short", [
                (f"rate(process_cpu_seconds_total{job}{RATE})", "{{instance}}")]),
            Panel("Memory", "bytes", [(f"process_resident_memory_bytes{job}", "{{instance}}")]),
        ]),
    ]  # fmt: skip


def _rate(counter: str, labels: str) -> str:
    return f"sum by ({labels}) (rate({counter}{RATE}))"


def _percentile(buckets: str, label: str) -> str:
    return f"histogram_quantile(0.99, sum by (le, {label}) (rate({buckets}{RATE})))"


_OWN = {
    "catalog": [
        Panel("Oldest expired hold not ended", "s", [
            ("max(recurring_holds_oldest_lateness_seconds)", "lateness")], bad_from=300),
        Panel("Paid orders without their units", "short", [
            ("max(recurring_orders_backordered)", "orders")], bad_from=1),
    ],
    "scheduler": [
        Panel("Due and not done", "short", [
            ("max by (stage) (recurring_cycles_due)", "{{stage}}"),
            ("max(recurring_orders_held)", "held")]),
        Panel("Oldest due cycle", "s", [
            ("max by (stage) (recurring_cycles_oldest_lateness_seconds)", "{{stage}}")],
            bad_from=60),
        Panel("Leads to be found again", "short", [
            ("max(recurring_lead_checks_due)", "standing orders")]),
        Panel("Oldest lead to be found again", "s", [
            ("max(recurring_lead_checks_oldest_lateness_seconds)", "lateness")], bad_from=900),
        Panel("Lateness, 99th percentile", "s", [
            (_percentile("recurring_cycle_lateness_seconds_bucket", "stage"), "{{stage}}")],
            bad_from=60),
    ],
    "payments": [
        Panel("Answers of the provider", "ops", [
            (_rate("recurring_charge_attempts_total", "outcome"), "{{outcome}}")]),
        Panel("Waiting", "short", [
            ("max(recurring_charges_due)", "due and not tried"),
            ("max(recurring_charges_unknown)", "unknown"),
            ("max(recurring_charges_pending_overdue)", "not decided in time by a bank"),
            ("max(recurring_refunds_pending)", "refunds")]),
        Panel("Oldest", "s", [
            ("max(recurring_charges_oldest_lateness_seconds)", "due and not tried"),
            ("max(recurring_charges_unknown_oldest_age_seconds)", "unknown"),
            ("max(recurring_reminders_oldest_lateness_seconds)", "reminder"),
            ("max(recurring_refunds_oldest_age_seconds)", "refund")], bad_from=3600),
        Panel("Disputes to look at", "short", [
            ("max(recurring_disputes_unanswered)", "to be answered within two days"),
            ("max(recurring_disputes_findings)", "not understood")], bad_from=1),
        Panel("Providers that answer nothing", "short", [
            ("sum by (job) (increase(recurring_provider_circuit_opened_total[10m]))", "{{job}}")],
            "How often a provider was left alone for a while."),
        Panel("Providers' clocks, ahead of ours or behind", "s", [
            ("max by (provider) (abs(recurring_provider_clock_ahead_seconds))", "{{provider}}")],
            bad_from=300),
        Panel("Webhooks", "ops", [
            (_rate("recurring_webhooks_total", "outcome"), "{{outcome}}")]),
        Panel("Webhooks to look at", "short", [
            ("max(recurring_webhooks_unknown_objects)", "of what is not known here"),
            ("max(recurring_webhooks_contradicted)", "money that is not booked")], bad_from=1),
        Panel("Oldest webhook not handled", "s", [
            ("max(recurring_webhooks_oldest_age_seconds)", "webhook")], bad_from=900),
        Panel("Oldest document not issued", "s", [
            ("max(recurring_documents_oldest_age_seconds)", "document")], bad_from=3600),
        Panel("Documents that cannot be made", "short", [
            ("max(recurring_documents_failed)", "payments and refunds")], bad_from=1),
        Panel("Oldest revenue not recognized", "s", [
            ("max(recurring_revenue_oldest_lateness_seconds)", "day")], bad_from=3600),
        Panel("Payouts that do not add up", "short", [
            ("max(recurring_payouts_mismatched)", "payouts")], bad_from=1),
        Panel("Oldest finding of a reconciliation", "s", [
            ("max(recurring_reconciliation_oldest_age_seconds)", "finding")], bad_from=86_400),
    ],
    "notify": [
        Panel("Notices", "ops", [
            (_rate("recurring_notices_total", "kind, outcome") + " > 0",
             "{{kind}} {{outcome}}")]),
        Panel("Waiting", "short", [
            ("max(recurring_deliveries_due)", "due and not sent"),
            ("max(recurring_notices_past_deadline)", "past their deadline")]),
        Panel("Oldest due message", "s", [
            ("max(recurring_deliveries_oldest_lateness_seconds)", "lateness")], bad_from=300),
        Panel("Oldest due e-mail with a document", "s", [
            ("max(recurring_attachments_oldest_lateness_seconds)", "lateness")], bad_from=14_400),
        Panel("One-time codes", "ops", [
            (_rate("recurring_phone_codes_total", "outcome"), "{{outcome}}")]),
        Panel("Messages given to gateways", "ops", [
            (_rate("recurring_delivery_attempts_total", "channel, route, outcome"),
             "{{channel}} {{route}} {{outcome}}")]),
        Panel("Gateways that take nothing", "short", [
            ("sum by (channel) (increase(recurring_deliveries_circuit_opened_total[10m]))",
             "{{channel}}")], "How often a gateway was left alone for half a minute.", 5),
        Panel("Receipts and replies from gateways", "ops", [
            (_rate("recurring_callbacks_total", "outcome"), "{{outcome}}")]),
        Panel("Phones that wait to replace another", "short", [
            ("max(recurring_phone_changes_waiting)", "phones")]),
        Panel("Phones that lapsed", "ops", [
            (_rate("recurring_phones_lapsed_total", "reason"), "{{reason}}")]),
        Panel("Oldest phone to be bound or lapsed", "s", [
            ("max by (work) (recurring_phones_oldest_lateness_seconds)", "{{work}}")],
            bad_from=900),
        Panel("Webhooks to platforms", "ops", [
            (_rate("recurring_webhook_attempts_total", "outcome"), "{{outcome}}")]),
        Panel("Webhooks that wait", "short", [
            ("max(recurring_webhooks_due)", "due and not sent"),
            ("max(recurring_webhooks_disabled)", "disabled endpoints")]),
        Panel("Oldest due webhook", "s", [
            ("max(recurring_webhooks_oldest_lateness_seconds)", "lateness")], bad_from=900),
    ],
}  # fmt: skip
