"""`python -m sigap.cli`: the same as the console script."""

from sigap.cli import main

main()
