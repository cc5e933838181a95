"""AgentCom's hub: it watches a git repository and hands the work in it to agents."""

__version__ = "0.1.0"
