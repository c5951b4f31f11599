"""Agents: the registry, the verbs of their life, what they say about themselves."""
