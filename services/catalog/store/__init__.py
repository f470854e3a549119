"""The catalog's rows: SQL by name, and between rows and the domain."""
