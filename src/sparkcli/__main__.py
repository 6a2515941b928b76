"""`python -m sparkcli`, which launchers of several processes can start."""

from sparkcli.commands.main import main

main()
