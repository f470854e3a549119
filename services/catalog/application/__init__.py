"""The catalog's use cases: what happens, one noun a module."""
