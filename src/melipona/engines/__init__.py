"""Engines: what runs an agent's turns inside its box. One contract (`engine.py`), one driver a file.

`playbook` plays a scripted agent, `claude` drives the Claude Code command line. A driver is a codec with an argv; the
turn loop does all reading and writing.
"""
