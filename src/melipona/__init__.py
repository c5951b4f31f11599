"""Melipona: a swarm of persistent coding agents on your own machines."""

__version__ = "0.1.0"
