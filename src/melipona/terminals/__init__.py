"""Terminals in agents' boxes: a person's own shell beside the agent, which begins no turn meanwhile."""
