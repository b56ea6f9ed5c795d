"""`actbench bench step`: where the time of a recipe's training step goes."""
