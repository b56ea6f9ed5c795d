"""`python -m actbench` is the `actbench` command."""

from actbench.cli.main import main

if __name__ == "__main__":  # processes that tokenise import it
    main()
