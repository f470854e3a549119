"""The alerts: rules as Prometheus reads them, and as its operator does."""
