"""`recurring demo`: five customers over six simulated months, through the public contracts only."""
