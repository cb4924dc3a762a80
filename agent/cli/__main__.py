"""`python -m agent.cli`: the command without its name on the PATH."""

from agent.cli import main

main()
