"""`actbench bench tricks`: what each trick of the training step buys, by the same step without it."""
