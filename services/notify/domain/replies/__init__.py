"""What customers write back: which word it is, and what it acts on. Pure."""
