"""Standing orders, their cycles and orders, and all calendar arithmetic."""
