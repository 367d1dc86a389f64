"""`python -m segbench` is the `segbench` command."""

from segbench.cli import main

main()
