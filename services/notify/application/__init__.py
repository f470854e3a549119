"""What notify does: use cases, one noun a module."""
