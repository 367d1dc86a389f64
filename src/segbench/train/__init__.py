"""Training: recipes, the loop, checkpoints, and the release of a model."""
