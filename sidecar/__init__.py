"""AgentCom's sidecar: the daemon beside one agent that takes work, has it done, and never loses a result."""
