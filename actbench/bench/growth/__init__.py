"""`actbench bench growth`: how time and memory grow with the size of a model, a text and a study."""
