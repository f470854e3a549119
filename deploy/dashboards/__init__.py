"""Grafana dashboards as code: one of the suite and one of each service.

`python -m deploy.dashboards` writes the JSON files beside this one from `panels.py`; with `--check` it
fails if they are not what it would write. The label `job` is the name of the service, as a
ServiceMonitor gives it.
"""
