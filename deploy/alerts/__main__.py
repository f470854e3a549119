"""`python -m deploy.alerts`: write the rules once more, as the Prometheus operator reads them."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RULE_FILE = FOLDER / "prometheus-rule.yaml"
HEADER = """\
# Made of recurring.yaml by `python -m deploy.alerts`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: recurring
spec:
"""


def prometheus_rule() -> str:
    """Return the rules, indented below the head of a resource."""
    lines = FOLDER.joinpath("recurring.yaml").read_text().splitlines()
    return HEADER + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    RULE_FILE.write_text(prometheus_rule())
