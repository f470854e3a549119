"""Logs, traces, metrics, and how errors and outages are reported."""
