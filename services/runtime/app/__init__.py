"""How a process starts, runs, is operated and stops."""
