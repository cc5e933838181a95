"""AgentCom's dashboard: read-only pages over a snapshot."""
