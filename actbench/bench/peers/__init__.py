"""`actbench bench peers`: actbench beside what its users could pick instead."""
