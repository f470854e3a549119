"""Background work: loops, retries, bisection, the clock."""
