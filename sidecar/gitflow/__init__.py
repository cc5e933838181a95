"""agentcom-git: one worktree, one branch and one pull request for each task, and no other way to do it."""
