"""Background work: worker loops, retries, bisection, the clock."""
