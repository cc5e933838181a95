"""Mail between agents: mailboxes, channels, threads and what passed when, kept in SQLite beside the repository."""
