"""`actbench bench activations`: what a learnable activation costs beside GELU."""
