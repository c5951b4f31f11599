"""Who may come in and what as: people and their roles, sessions, one-time links, tokens."""
