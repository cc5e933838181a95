"""``python -m sidecar`` is ``agentcom-sidecar``."""

from sidecar.cli import main

main()
