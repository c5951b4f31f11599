"""Turns: one run of an engine on an agent's waiting mail, from lease to acknowledgement."""
