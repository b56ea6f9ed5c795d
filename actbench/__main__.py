"""`python -m actbench` is the `actbench` command."""

from actbench.cli.main import main

main()
