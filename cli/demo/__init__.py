"""`recurring demo`: four customers over six simulated months, through the public contracts only."""
