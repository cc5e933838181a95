"""``agentcom up``: hub, sidecars and watch of one repository in one process tree, and the story of what they do."""
