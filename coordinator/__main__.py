"""``python -m coordinator`` is ``agentcom``."""

from coordinator.cli import main

main()
