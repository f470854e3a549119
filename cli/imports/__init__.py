"""Taking over standing orders from a file: reading it, sending it, saying what became of it."""
