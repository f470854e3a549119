"""The rows of payments: SQL by name, and between rows and the domain."""
