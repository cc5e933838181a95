"""``agentcom doctor``: what is looked at, what may be mended without asking, and what goes into a support bundle."""
